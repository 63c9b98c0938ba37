"""Query logging on every SQL store: what is told of statements, and what never is."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.errors import ConfigError
from wg_core.history import AttemptRecord
from wg_core.job import JobState, NewJob
from wg_core.outcome import Ack, Bury, Outcome, Progress, Retry
from wg_core.protocol import CancelJobs, JobFilter, WorkerBeat
from wg_core.registry import open_backend
from wg_core.sql import QueryLog

SECRET = "tops3cret"
Open = Callable[..., Backend]


@pytest.fixture(params=["sqlite", "sqlite::memory:", "postgres", "mysql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            return f"sqlite:{tmp_path / 'jobs.db'}"
        case "sqlite::memory:":
            return "sqlite::memory:"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def open_store(store_url: str, fresh_namespace: str) -> Iterator[Open]:
    opened: list[Backend] = []

    def open_with(query: str = "", **options: Any) -> Backend:
        opened.append(open_backend(store_url + query, namespace=fresh_namespace, **options))
        return opened[-1]

    yield open_with
    for backend in opened:
        backend.close()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """What the logger was told since the last time."""
    caplog.set_level(logging.DEBUG, logger="wg.sql")

    def take() -> list[logging.LogRecord]:
        records = [record for record in caplog.records if record.name == "wg.sql"]
        caplog.clear()
        return records

    return take


Told = Callable[[], list[logging.LogRecord]]


def messages(told: Told) -> list[str]:
    return [record.getMessage() for record in told()]


def new_job(job_id: str, **fields: Any) -> NewJob:
    return NewJob(**{"id": job_id, "name": "send", "queue": "mail", "body": SECRET.encode() * 30, **fields})


def record(outcome: str) -> AttemptRecord:
    return AttemptRecord(
        attempt=1,
        outcome=outcome,
        worker="w1",
        started_at=0,
        ended_at=1,
        error_type="ValueError",
        error_message=SECRET,
        traceback=SECRET,
    )


def use_everything(backend: Backend) -> None:
    """Send secrets through every kind of statement that carries any."""
    backend.enqueue([new_job(f"job-{number}") for number in range(5)])
    backend.enqueue([new_job("job-5")])
    backend.enqueue([new_job(f"job-6-{uuid.uuid4()}", id_is_new=True)])
    backend.enqueue([new_job("later", delay_seconds=60.0)])
    backend.beat([WorkerBeat(worker="w1", lease_seconds=30.0, first=True, info=SECRET.encode())])
    jobs = backend.reserve(["mail"], 7, "w1", request_no=1)
    acked, retried, buried, moving, *_ = jobs
    outcomes: list[Outcome] = [
        Ack(id=acked.id, lease_no=1),
        Retry(id=retried.id, lease_no=1, delay_seconds=9.0, record=record("retry")),
        Bury(id=buried.id, lease_no=1, record=record("dead")),
        Progress(id=moving.id, lease_no=1, value=SECRET.encode()),
    ]
    backend.report("w1", outcomes, request_no=1)
    backend.report("w1", outcomes, request_no=1)
    backend.get([job.id for job in jobs])
    backend.find(JobFilter(state=JobState.DEAD))
    backend.alter([moving.id, "later"], CancelJobs())
    backend.workers()
    backend.retire("w1", [(moving.id, 1)], SECRET)


def test_every_statement_is_told_with_its_parameters_rows_and_time(open_store: Open, told: Told) -> None:
    backend = open_store("?log_queries=true")
    use_everything(backend)
    said = told()
    text = "\n".join(record.getMessage() for record in said)
    assert {record.levelno for record in said} == {logging.DEBUG}
    assert all(" ms" in record.getMessage() and "\n" not in record.getMessage() for record in said)
    assert "rows: " in text
    assert "1 row: " in text
    for word in ("INSERT", "DELETE", "SELECT", "UPDATE", "CREATE TABLE", "COMMIT"):
        assert word in text
    assert "BEGIN" in text or "START TRANSACTION" in text
    for shown in ("job-0", "job-6", "'send'", "mail", "w1"):
        assert shown in text


def test_bodies_histories_answers_and_what_workers_say_are_never_told(open_store: Open, told: Told) -> None:
    use_everything(open_store(log_queries=True))
    text = "\n".join(messages(told))
    assert f"<{30 * len(SECRET)} bytes>" in text
    assert SECRET not in text
    assert SECRET.encode().hex() not in text.lower()


def test_without_the_option_nothing_is_told(open_store: Open, told: Told) -> None:
    use_everything(open_store())
    assert messages(told) == []


def test_statements_slower_than_asked_for_are_told_as_warnings_and_no_others(open_store: Open, told: Told) -> None:
    use_everything(open_store("?slow_query=300"))
    assert messages(told) == []
    use_everything(open_store(slow_query=0.0))
    said = told()
    assert {record.levelno for record in said} == {logging.WARNING}
    assert all(record.getMessage().startswith("slow query, ") for record in said)
    assert SECRET not in "\n".join(record.getMessage() for record in said)


@pytest.mark.parametrize("wrong", [{"log_queries": "perhaps"}, {"slow_query": -1}])
def test_a_wrong_value_is_refused_by_name(open_store: Open, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        open_store(**wrong)


class BrokenCursor:
    """A cursor of a driver whose errors quote what they were given."""

    rowcount = -1
    description = None

    def execute(self, text: str, arguments: object) -> None:
        raise ValueError(f"bad value in {arguments}")


def test_a_statement_that_fails_is_told_by_the_kind_of_its_error_alone(told: Told) -> None:
    cursor = QueryLog(log_queries=True).watched(BrokenCursor())
    with pytest.raises(ValueError, match="bad value"):
        cursor.execute("INSERT INTO t VALUES (?)", (SECRET.encode(),))
    (said,) = messages(told)
    assert "ValueError: INSERT INTO t VALUES (?) (<9 bytes>)" in said
    assert SECRET not in said


class QuietCursor:
    """A cursor that changes one row."""

    rowcount = 1
    description = None

    def execute(self, text: str, arguments: object) -> None:
        """Do nothing."""

    executemany = execute


def test_long_values_and_long_lists_are_shortened(told: Told) -> None:
    cursor = QueryLog(log_queries=True).watched(QuietCursor())
    cursor.execute("UPDATE t\n SET a = ?", ("x" * 5_000, list(range(1_000)), {"a": SECRET}, None))
    cursor.executemany("UPDATE t SET a = ?", [(number,) for number in range(40)])
    first, many = messages(told)
    assert len(first) < 300
    assert "UPDATE t SET a = ?" in first
    assert "1000 in all" in first
    assert first.endswith("<a dict>, None)")
    assert many.endswith("(0) and so on, 40 times")
