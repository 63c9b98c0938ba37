"""Every statement reaches job tables through an index, whatever waits and whatever the planner believes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.backends.postgres.support import OpenPostgres, Statements, ack, explain, new_job, new_jobs, register
from wg_core.history import AttemptRecord
from wg_core.job import JobState
from wg_core.outcome import Ack, Bury, Cancel, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import (
    CancelJobs,
    DeleteJobs,
    JobFilter,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
)
from wg_postgres import PostgresBackend
from wg_postgres.connections import parameters

RECORD = AttemptRecord(attempt=1, outcome="retry", worker="w1")
LATER = 2**60
MANY = 200_000

JOB_TABLES = ("jobs", "scheduled", "retry", "running", "dead")
_COLUMNS = "id, name, queue, rank, body, max_retries, at_most_once, enqueued_at"
_VALUES = "'job', 'default', number % 3, '{{}}', 3, 0, 0"
_FILL = {
    "jobs": f"({_COLUMNS}, ready_at) SELECT 'j' || number, {_VALUES}, 0",
    "scheduled": f"({_COLUMNS}, run_at) SELECT 's' || number, {_VALUES}, number",
    "retry": f"({_COLUMNS}, run_at) SELECT 't' || number, {_VALUES}, number",
    "running": f"(seq, {_COLUMNS}, ready_at, worker, reserved_at, request_no)"
    f" SELECT 9000000 + number, 'r' || number, {_VALUES}, 0, 'worker ' || number % 10, 0, 0",
    "dead": f"({_COLUMNS}, ended_at) SELECT 'd' || number, {_VALUES}, number",
}


def live_a_full_life(backend: PostgresBackend) -> None:
    """Call everything that a worker, a producer or a person calls."""
    register(backend)
    backend.enqueue(new_jobs("single"))
    backend.enqueue(new_jobs("second"))
    backend.enqueue(new_jobs("later", delay_seconds=60))
    backend.enqueue(new_jobs("batch-1", "batch-2"))
    backend.enqueue(new_jobs("batch-3", "batch-4", delay_seconds=60))
    backend.enqueue([new_job(f"job-{number}", expires_in_seconds=1e9, priority=9) for number in range(20)])
    backend.enqueue([new_job("given", delay_seconds=9), new_job("given-2")])
    jobs = backend.reserve(["default", "other"], 12, "w1", request_no=1)
    backend.reserve(["default"], 12, "w1", request_no=1)
    fences = [{"id": job.id, "lease_no": job.lease_no} for job in jobs]
    kinds = (
        lambda fence: Ack(**fence),
        lambda fence: Retry(**fence, delay_seconds=1.0, record=RECORD),
        lambda fence: Bury(**fence, record=RECORD),
        lambda fence: Release(**fence),
        lambda fence: Release(**fence, delay_seconds=5.0),
        lambda fence: Cancel(**fence),
        lambda fence: Start(**fence),
        lambda fence: Progress(**fence, value=b"1"),
    )
    outcomes: list[Outcome] = [kind(fence) for kind, fence in zip(kinds, fences, strict=False)]
    backend.report("w1", outcomes, request_no=1)
    backend.report("w1", [ack(job) for job in jobs[9:]], request_no=2)
    backend.reserve(None, 3, "w1", request_no=2)
    register(backend)
    backend.held("w1")
    backend.promote(100, now=1)
    for action in (CancelJobs(), ReprioritiseJobs(5), RescheduleJobs(delay_seconds=9), RequeueJobs(), DeleteJobs()):
        backend.alter(["job-1", "job-2"], action)
    for state in JobState:
        for where in (JobFilter(state=state), JobFilter(state=state, queue="default")):
            page = backend.find(where, limit=1)
            if page.cursor:
                backend.find(where, cursor=page.cursor, limit=1)
    backend.has_ready(["default"])
    backend.has_ready(None)
    backend.stats(now=1)
    backend.workers()
    backend.pause("default")
    backend.resume("default")
    backend.prune(Retention(dead_seconds=1, dead_most=MANY), 10, now=10_000)
    register(backend, "w2")
    backend.reserve(["default"], 3, "w2", request_no=1)
    backend.rescue(10, now=LATER)
    register(backend, "w3")
    backend.retire("w3", [], "gone")


def fill(connection: psycopg.Connection[Any], namespace: str) -> None:
    for table, rows in _FILL.items():
        connection.execute(f"INSERT INTO {namespace}_{table} {rows.format()} FROM generate_series(1, {MANY}) AS number")


@pytest.fixture
def planner(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection on which plans are made as on those of a backend."""
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


@pytest.fixture(params=["empty", "huge", "stale statistics"])
def backend_with_jobs(
    request: pytest.FixtureRequest,
    open_postgres: OpenPostgres,
    connection: psycopg.Connection[Any],
    fresh_namespace: str,
) -> PostgresBackend:
    backend = open_postgres()
    backend.migrate()
    for table in JOB_TABLES:
        connection.execute(f"ALTER TABLE {fresh_namespace}_{table} SET (autovacuum_enabled = off)")
        if request.param == "stale statistics":
            connection.execute(f"VACUUM ANALYZE {fresh_namespace}_{table}")
    if request.param != "empty":
        fill(connection, fresh_namespace)
    if request.param == "huge":
        for table in JOB_TABLES:
            connection.execute(f"VACUUM ANALYZE {fresh_namespace}_{table}")
    return backend


def use_settings_of_ours(planner: psycopg.Connection[Any], backend: PostgresBackend) -> None:
    options = parameters(backend._postgres._settings, {})["options"]
    for setting in options.replace("\\ ", "\0").split("-c ")[1:]:
        name, _, value = setting.strip().replace("\0", " ").partition("=")
        planner.execute(f"SET {name} = '{value}'")


def faults(plan: dict[str, Any], namespace: str, *, under_limit: bool = False) -> list[str]:
    """Return the steps of a plan that would grow with the number of jobs."""
    kind, table = plan["Node Type"], plan.get("Relation Name", "").removeprefix(f"{namespace}_")
    under_limit = under_limit or kind == "Limit"
    found = []
    if "Scan" in kind and table in JOB_TABLES and "Index Cond" not in plan and "Bitmap Heap" not in kind:
        # Walking an index in its order is fine where a LIMIT ends the walk and nothing is filtered on the way.
        is_short = under_limit and kind.startswith("Index") and "Filter" not in plan
        if not is_short:
            found.append(f"{kind} on {table}")
    if kind == "Bitmap Index Scan" and "Index Cond" not in plan:
        found.append(f"{kind} of {plan['Index Name']}")
    if kind == "Sort" and under_limit and any("Relation Name" in child for child in plan["Plans"]):
        found.append(f"Sort of {plan['Plans'][0].get('Relation Name')} for a LIMIT")
    # A limit above a sort, an aggregate or a hash does not shorten what is below.
    passes_on = kind not in {"Sort", "Aggregate", "Hash", "HashAggregate"}
    for child in plan.get("Plans", ()):
        found += faults(child, namespace, under_limit=under_limit and passes_on)
    return found


def is_counting(text: str) -> bool:
    """Whether a statement counts to a cap, by looking at so many rows of whatever kind."""
    return text.startswith("SELECT count(*) AS count_1")


def is_hot(text: str) -> bool:
    """Whether workers run a statement all the time, and not people now and then."""
    return not text.startswith("SELECT") or " FOR " in text or "paused" in text


@pytest.mark.timeout(600)  # a slow disk needs minutes for a million rows
def test_no_statement_scans_a_job_table_or_sorts_it(
    backend_with_jobs: PostgresBackend,
    planner: psycopg.Connection[Any],
    fresh_namespace: str,
    request: pytest.FixtureRequest,
) -> None:
    statements = Statements()
    backend_with_jobs._connections.query_log = statements  # type: ignore[assignment]
    live_a_full_life(backend_with_jobs)
    texts = [text for text in statements.seen if f"{fresh_namespace}_" in text and not is_counting(text)]
    assert len(texts) > 50

    def found(texts: list[str]) -> dict[str, list[str]]:
        plans = {text: explain(planner, text, statements.seen[text]) for text in texts}
        return {text: steps for text, plan in plans.items() if (steps := faults(plan, fresh_namespace))}

    if "empty" not in request.node.name:  # behind PgBouncer: there no plan is kept, so an empty table may be scanned
        assert found([text for text in texts if is_hot(text)]) == {}
    use_settings_of_ours(planner, backend_with_jobs)
    assert found(texts) == {}


def test_a_scan_would_be_noticed(
    backend: PostgresBackend, planner: psycopg.Connection[Any], fresh_namespace: str
) -> None:
    backend.migrate()
    use_settings_of_ours(planner, backend)
    for text in (
        "SELECT id FROM {}_jobs WHERE name = 'x'",
        "SELECT id FROM {}_jobs WHERE queue = 'x' ORDER BY enqueued_at LIMIT 5",
        "SELECT count(*) FROM {}_dead",
        "DELETE FROM {}_running WHERE request_no = 1",
        "SELECT 1 FROM {}_queues AS q JOIN {}_jobs AS j ON j.name = q.name",
    ):
        assert faults(explain(planner, text.replace("{}", fresh_namespace), ()), fresh_namespace), text
