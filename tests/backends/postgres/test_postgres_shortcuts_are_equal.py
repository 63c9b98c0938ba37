"""The statements that save round trips against the ordinary way of the toolkit: the same calls, the same store."""

from __future__ import annotations

import json
import random
from typing import Any

import psycopg
import pytest

from tests.backends.postgres.support import OpenPostgres
from wg_core.errors import WgError
from wg_core.history import AttemptRecord
from wg_core.job import NewJob
from wg_core.outcome import Ack, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import Retention, WorkerBeat
from wg_core.sql import SqlBackend
from wg_postgres import PostgresBackend

STEPS = 120
TABLES = ("jobs", "scheduled", "retry", "running", "dead", "counters", "workers", "queues")
WEIGHTS = {"enqueue": 25, "reserve": 30, "report": 25, "beat": 14, "retire": 1, "rescue": 2, "promote": 6}
WEIGHTS |= {"pause": 1, "resume": 4, "prune": 2}
QUEUES = ("q1", "q2", "it's ü")

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class OrdinaryBackend(PostgresBackend):
    """Takes no shortcut."""

    _enqueue_one = SqlBackend._enqueue_one
    _enqueue_batch = SqlBackend._enqueue_batch
    reserve = SqlBackend.reserve
    report = SqlBackend.report


class Calls:
    """Makes up calls of two workers, some of them sent twice or too late, about few enough jobs that they meet."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now = 10**12
        self._new_ids = 0
        self._last: dict[tuple[str, str], int] = {}
        self.held: list[tuple[str, str, int]] = []
        """(worker, id, lease_no) of what was ever reserved."""

    def make(self) -> Call:
        pick = self._random.choice
        self._now += pick([0, 0, 1, 100, 1_000, 3_000])
        worker = pick(["w1", "w2"])
        (operation,) = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if operation in {"pause", "resume"}:
            return operation, (pick(QUEUES),), {}
        arguments: dict[str, tuple[Any, ...]] = {
            "enqueue": ([self._job() for _ in range(pick([1, 1, 2, 5]))],),
            "reserve": (
                pick([None, ["q1"], ["q2", "q1"], ["it's ü", "q1", "q1", "x"], []]),
                pick([0, 1, 2, 3]),
                worker,
            ),
            "report": (worker, self._outcomes(worker)),
            "beat": ([WorkerBeat(worker=worker, lease_seconds=pick([5.0, 30.0]), first=True)],),
            "retire": (worker, [], "killed"),
            "rescue": (100,),
            "promote": (pick([1, 5]),),
            "prune": (Retention(), 10),
        }
        given: dict[str, Any] = {"now": self._now}
        if operation in {"reserve", "report"}:
            last = self._last.get((worker, operation), 0)
            given["request_no"] = last + pick([1, 1, 1, 1, 1, 1, 2, 0, -1])
            self._last[worker, operation] = max(last, given["request_no"])
        return operation, arguments[operation], given

    def _job(self) -> NewJob:
        pick = self._random.choice
        is_new = pick([True, True, False])
        self._new_ids += is_new
        return NewJob(
            id=f"n{self._new_ids}" if is_new else f"j{self._random.randrange(40)}",
            name="job",
            body=b"x\0",
            queue=pick(QUEUES),
            priority=pick([-1, 0, 1]),
            delay_seconds=pick([0.0, 0.0, 0.0, 5.0]),
            expires_in_seconds=pick([None, None, None, 1.0, 10.0]),
            max_retries=pick([0, 1, 3]),
            at_most_once=pick([False, False, True]),
            id_is_new=is_new,
        )

    def _outcomes(self, worker: str) -> list[Outcome]:
        pick, only_acks = self._random.choice, self._random.random() < 0.6
        mine = [held for held in self.held if held[0] == worker] or self.held or [(worker, "nothing", 1)]
        chosen = [pick(mine) for _ in range(pick([0, 1, 2, 3]))]
        record = AttemptRecord(attempt=1, outcome="retry", worker=worker)
        outcomes: list[Outcome] = []
        for _, job_id, lease_no in chosen:
            fence: dict[str, Any] = {"id": job_id, "lease_no": lease_no + pick([0] * 7 + [1])}
            others = (
                Retry(**fence, delay_seconds=pick([0.0, 3.0]), record=record),
                Bury(**fence, record=record),
                Release(**fence, delay_seconds=pick([0.0, 3.0]), counts_as=pick(list(CountsAs))),
                Cancel(**fence),
                Start(**fence),
                Progress(**fence, value=b"1"),
            )
            outcomes.append(Ack(**fence) if only_acks else pick(others))
        return outcomes


def answer_of(backend: PostgresBackend, call: Call) -> Any:
    operation, arguments, given = call
    try:
        return getattr(backend, operation)(*arguments, **given)
    except WgError as error:
        return type(error), str(error)


def content(connection: psycopg.Connection[Any], namespace: str) -> dict[str, list[Any]]:
    """Return all rows, and the order of jobs in place of their sequence numbers, in which there are gaps."""
    found: dict[str, list[Any]] = {}
    for table in TABLES:
        rows = connection.execute(f"SELECT to_jsonb(t) - 'seq' FROM {namespace}_{table} AS t")
        found[table] = sorted(json.dumps(row, sort_keys=True) for (row,) in rows)
    both = f"SELECT id, seq FROM {namespace}_jobs UNION ALL SELECT id, seq FROM {namespace}_running"
    found["order"] = connection.execute(f"SELECT id FROM ({both}) AS found ORDER BY seq").fetchall()
    found["requests"] = [
        (worker, operation, number, json.loads(answer))
        for worker, operation, number, answer in connection.execute(
            f"SELECT worker, operation, request_no, answer FROM {namespace}_requests ORDER BY worker, operation"
        )
    ]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_shortcuts_answer_and_store_what_the_ordinary_way_does(
    open_postgres: OpenPostgres, postgres_url: str, connection: psycopg.Connection[Any], fresh_namespace: str, seed: int
) -> None:
    names = f"{fresh_namespace}_s", f"{fresh_namespace}_o"
    short = open_postgres(namespace=names[0])
    with OrdinaryBackend.open(postgres_url, names[1]) as ordinary:
        for backend in (short, ordinary):
            backend.migrate()
        calls = Calls(seed)
        for _ in range(STEPS):
            call = calls.make()
            answer = answer_of(short, call)
            assert answer == answer_of(ordinary, call), call
            assert content(connection, names[0]) == content(connection, names[1]), call
            if call[0] == "reserve" and isinstance(answer, list):
                calls.held = [*calls.held, *((call[1][2], job.id, job.lease_no) for job in answer)][-30:]
