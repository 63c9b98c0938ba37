"""What the statements that save round trips answer, where they give way, and that they save them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.backends.postgres.support import OpenPostgres, Statements, ack, new_job, new_jobs, register
from wg_core.errors import BackendRejectedError, LeaseLostError
from wg_core.job import JobState
from wg_core.outcome import Ack, Applied, Progress, Release
from wg_core.protocol import JobFilter, StatsLevel
from wg_postgres import PostgresBackend
from wg_postgres.marks import FIRST, Marks

TAKES_ALL_FOR_SLOW = -1.0


@pytest.fixture
def backend(backend: PostgresBackend) -> PostgresBackend:
    """A backend that has made its schema, knows the queue and has a worker."""
    backend.enqueue([new_job("first")])
    register(backend)
    backend.report("w1", [ack(job) for job in backend.reserve(None, 10, "w1", request_no=1)], request_no=1)
    return backend


@pytest.fixture
def statements(backend: PostgresBackend) -> Statements:
    log = Statements()
    backend._connections.query_log = log  # type: ignore[assignment]
    return log


def ids_of(jobs: Sequence[Any]) -> list[str]:
    return [job.id for job in jobs]


def test_enqueue_reserve_and_report_are_one_statement_each(backend: PostgresBackend, statements: Statements) -> None:
    for job_id in ("a", "b", "c", "d"):
        backend.enqueue(new_jobs(job_id))
    backend.enqueue(new_jobs("later", delay_seconds=60))
    jobs = backend.reserve(["default"], 3, "w1", request_no=2)
    assert backend.report("w1", [ack(job) for job in jobs], request_no=2) == [Applied.APPLIED] * 3
    assert ids_of(backend.reserve(None, 3, "w1", request_no=3)) == ["d"]
    assert backend.reserve(None, 3, "w1", request_no=4) == []
    assert len(statements.texts) == 9
    assert not any(text.startswith(("BEGIN", "COMMIT")) for text in statements.texts)


def test_a_batch_of_new_ids_is_inserted_in_one_statement_and_committed_by_another(
    backend: PostgresBackend, statements: Statements
) -> None:
    """Or it could arrive after its own repeat, which a batch does not look for."""
    backend.enqueue(new_jobs("a", "b", "c"))
    begin, insertion, wake, commit = statements.texts
    assert (begin.split()[0], insertion.split()[0], wake.split()[0], commit) == ("BEGIN", "INSERT", "SELECT", "COMMIT")


def test_a_batch_is_numbered_in_its_own_order_whatever_the_ids(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("z", "m", "a", "z"))
    backend.enqueue([new_job("y"), new_job("b")])
    assert ids_of(backend.reserve(["default"], 10, "w1", request_no=2)) == ["z", "m", "a", "y", "b"]


def test_known_ids_are_told_one_by_one_wherever_they_are(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("ready", "running", priority=-1))
    backend.enqueue(new_jobs("urgent"))
    backend.enqueue(new_jobs("scheduled", delay_seconds=60))
    backend.reserve(["default"], 1, "w1", request_no=2)
    answer = backend.enqueue([new_job(job_id) for job_id in ("urgent", "ready", "new", "scheduled", "new")])
    assert [result.stored for result in answer] == [False, False, True, False, False]
    assert not backend.enqueue([new_job("urgent")])[0].stored


def test_queues_are_served_in_the_order_of_the_list_and_in_turn_without_one(backend: PostgresBackend) -> None:
    for queue in ("b", "a", "c"):
        backend.enqueue([new_job(f"{queue}{number}", queue=queue, priority=number) for number in range(2)])
    assert ids_of(backend.reserve(["c", "x", "a", "c"], 3, "w1", request_no=2)) == ["c1", "c0", "a1"]
    assert ids_of(backend.reserve(None, 9, "w1", request_no=3)) == ["b1", "b0", "a0"]


def test_a_repeated_request_is_answered_again_and_a_lower_one_refused(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("a", "b", "c"))
    jobs = backend.reserve(["default"], 2, "w1", request_no=5)
    assert backend.reserve(["default"], 2, "w1", request_no=5) == jobs
    assert backend.report("w1", [ack(jobs[0])], request_no=5) == [Applied.APPLIED]
    assert backend.report("w1", [ack(jobs[0])], request_no=5) == [Applied.APPLIED]
    assert ids_of(backend.reserve(["default"], 2, "w1", request_no=5)) == ["b"]
    with pytest.raises(BackendRejectedError, match="request number 4 is over"):
        backend.reserve(["default"], 2, "w1", request_no=4)
    with pytest.raises(BackendRejectedError, match="request number 4 is over"):
        backend.report("w1", [ack(jobs[1])], request_no=4)
    assert ids_of(backend.reserve(["default"], 2, "w1", request_no=6)) == ["c"]


def test_a_repeated_request_is_answered_again_when_nothing_else_is_ready(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("a"))
    jobs = backend.reserve(["default"], 1, "w1", request_no=2)
    assert backend.reserve(["default"], 1, "w1", request_no=2) == jobs


def test_outcomes_of_a_lost_lease_are_told_also_when_asked_again(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("a", "b"))
    a, b = backend.reserve(["default"], 2, "w1", request_no=2)
    acks = [Ack(id="x", lease_no=1), ack(a), Ack(id="y", lease_no=1), ack(b)]
    lost_and_applied = [Applied.LOST, Applied.APPLIED, Applied.LOST, Applied.APPLIED]
    assert backend.report("w1", acks, request_no=2) == lost_and_applied
    assert backend.report("w1", acks, request_no=2) == lost_and_applied
    assert backend.stats(StatsLevel.EXACT).queues["default"].done == 3


def test_jobs_of_another_worker_or_lease_number_are_not_ended(backend: PostgresBackend) -> None:
    register(backend, "w2")
    backend.enqueue(new_jobs("a"))
    (job,) = backend.reserve(["default"], 1, "w1", request_no=2)
    assert backend.report("w2", [ack(job)], request_no=1) == [Applied.LOST]
    assert backend.report("w1", [Ack(id="a", lease_no=2)], request_no=2) == [Applied.LOST]
    assert backend.report("stranger", [ack(job)], request_no=1) == [Applied.LOST]
    assert backend.report("w1", [ack(job)], request_no=3) == [Applied.APPLIED]


def test_a_worker_without_a_live_lease_gets_nothing(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("a"))
    for worker, now in (("stranger", None), ("w1", 2**50)):
        with pytest.raises(LeaseLostError):
            backend.reserve(["default"], 1, worker, request_no=2, now=now)
        with pytest.raises(LeaseLostError):
            backend.reserve(["empty"], 1, worker, request_no=2, now=now)
    assert backend.find(JobFilter(state=JobState.READY)).jobs[0].id == "a"


def test_expired_jobs_at_the_front_end_and_those_behind_are_found(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("old", "older", expires_in_seconds=0.001, priority=1), now=1_000)
    backend.enqueue(new_jobs("good"))
    assert ids_of(backend.reserve(["default"], 1, "w1", request_no=2)) == ["good"]
    assert backend.stats(StatsLevel.EXACT).queues["default"].expired == 2


def test_mixed_outcomes_and_different_lease_numbers_go_the_ordinary_way(backend: PostgresBackend) -> None:
    backend.enqueue(new_jobs("a", "b"))
    a, b = backend.reserve(["default"], 2, "w1", request_no=2)
    backend.report("w1", [Release(id="a", lease_no=a.lease_no)], request_no=2)
    (again,) = backend.reserve(["default"], 2, "w1", request_no=3)
    assert again.lease_no == 2
    outcomes = [ack(again), Progress(id="b", lease_no=1, value=b"1"), ack(b)]
    assert backend.report("w1", outcomes, request_no=3) == [Applied.APPLIED] * 3


# ---------------------------------------------------------------------- the low-water mark


@pytest.fixture
def marked(backend: PostgresBackend) -> PostgresBackend:
    """A backend that begins each search at its marks, as if every search from the front were slow and time stood still.

    Or the marks could be gone after a second.
    """
    backend._shortcuts._marks = Marks(
        lambda: 100.0, slow_seconds=TAKES_ALL_FOR_SLOW, slow_in_a_row=1, many_claimed=0, gain=float("inf")
    )
    return backend


def test_a_search_begins_behind_the_last_job_claimed(marked: PostgresBackend, statements: Statements) -> None:
    marked.enqueue(new_jobs(*(f"{number}" for number in range(6))))
    assert ids_of(marked.reserve(["default"], 2, "w1", request_no=2)) == ["0", "1"]
    assert ids_of(marked.reserve(["default"], 2, "w1", request_no=3)) == ["2", "3"]
    (arguments,) = [list(found) for text, found in statements.seen.items() if "unnest" in text and "front" in text]
    (place,) = [value for value in arguments if isinstance(value, list) and value[0] not in ("default", 0, *FIRST)]
    assert place[0] > 0


def test_no_job_is_stranded_behind_the_mark(marked: PostgresBackend, open_postgres: OpenPostgres) -> None:
    other = open_postgres()
    marked.enqueue(new_jobs(*(f"{number}" for number in range(40))))
    held = marked.reserve(["default"], 10, "w1", request_no=2)
    marked.report("w1", [Release(id=job.id, lease_no=job.lease_no) for job in held], request_no=2)
    other.enqueue(new_jobs("urgent", priority=9))
    other.enqueue(new_jobs("elsewhere", queue="other"))
    seen: list[str] = []
    request_no = 2
    while jobs := marked.reserve(None, 4, "w1", request_no=(request_no := request_no + 1)):
        seen += ids_of(jobs)
    assert sorted(seen) == sorted([*(f"{number}" for number in range(40)), "urgent", "elsewhere"])


def test_a_job_behind_the_mark_is_found_when_nothing_is_ahead(marked: PostgresBackend) -> None:
    marked.enqueue(new_jobs("a", "b"))
    marked.reserve(["default"], 2, "w1", request_no=2)
    marked.enqueue(new_jobs("urgent", priority=9))
    assert marked._shortcuts._marks.current()
    assert ids_of(marked.reserve(["default"], 1, "w1", request_no=3)) == ["urgent"]


def test_marks_come_after_slow_searches_in_a_row_and_go_after_a_second() -> None:
    time = [100.0]
    marks = Marks(lambda: time[0], slow_seconds=0.01, slow_in_a_row=3, many_claimed=6)
    claimed = [("q", (0, 1)), ("q", (0, 2))]
    for seconds in (0.02, 0.02, 0.005, 0.02, 0.02):
        marks.note({}, claimed, seconds=seconds)
        assert marks.current() == {}
    marks.note({}, claimed, seconds=0.02)
    assert marks.current() == {"q": (0, 2)}
    marks.note(marks.current(), [("q", (0, 7)), ("r", (1, 3))], seconds=0.001)
    assert marks.current() == {"q": (0, 7), "r": (1, 3)}
    time[0] += 1.1
    assert marks.current() == {}
    marks.note({}, claimed, seconds=0.02)
    assert marks.current() == {"q": (0, 2)}
    marks.note({}, claimed, seconds=0.002)
    assert marks.current() == {}


def test_marks_that_gain_nothing_are_left_alone_for_a_while() -> None:
    time = [100.0]
    marks = Marks(lambda: time[0], slow_seconds=0.01, slow_in_a_row=1, many_claimed=0)
    claimed = [("q", (0, 1))]
    marks.note({}, claimed, seconds=0.02)
    for seconds in (0.015, 0.015, 0.001, 0.015, 0.015):  # one of three gains something
        marks.note(marks.current(), claimed, seconds=seconds)
        assert marks.current() == {"q": (0, 1)}
    marks.note(marks.current(), claimed, seconds=0.015)
    assert marks.current() == {}
    marks.note({}, claimed, seconds=0.02)
    assert marks.current() == {}
    time[0] += 11.0
    marks.note({}, claimed, seconds=0.02)
    assert marks.current() == {"q": (0, 1)}


def test_an_instance_that_claimed_few_jobs_never_uses_marks() -> None:
    marks = Marks(lambda: 100.0, slow_in_a_row=1)
    for _ in range(99):
        marks.note({}, [("q", (0, number)) for number in range(100)], seconds=9.0)
        assert marks.current() == {}
    marks.note({}, [("q", (0, number)) for number in range(100)], seconds=9.0)
    assert marks.current() == {"q": (0, 99)}
