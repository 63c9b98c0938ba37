"""Jobs in a transaction of the caller's. Invariant 11: they commit and roll back with the caller's data.

The caller is in the thread of the test; while its transaction is open, the test only reads through the backend or
leaves what it writes to another thread, because on a store with one writer everybody else waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.client import Client
from wg_core.errors import ConfigError, UnsupportedError
from wg_core.job import EnqueueResult, JobState, NewJob, UniqueKey
from wg_core.outgoing import Job
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import PATIENCE_SECONDS, Producer, Worker, exact, new_job, state_of
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import InEachState
from wg_core.testing.contract.waiting import waiting

transactional = requires(Capability.TRANSACTIONAL)
ConnectAsCaller = Callable[[], Any]


@pytest.fixture
def connect_as_caller() -> ConnectAsCaller:
    """Open a connection of the caller's to the store; override where the backend declares `transactional`.

    Anything that `enqueue(connection=…)` takes and that has `commit`, `rollback` and `close`.
    """

    def connect() -> Any:
        pytest.fail("the backend declares transactional: override the fixture connect_as_caller")

    return connect


class Caller:
    """Enqueues in transactions of a connection, at the clock's time."""

    def __init__(self, backend: Backend, clock: Clock, connection: Any) -> None:
        self.backend, self.clock, self.connection = backend, clock, connection

    def put(self, *jobs: NewJob) -> list[EnqueueResult]:
        """Enqueue in the transaction that is open, or that begins now."""
        return self.backend.enqueue(jobs, connection=self.connection, now=self.clock.now)

    def put_new(self, *ids: str, **fields: Any) -> None:
        """Enqueue jobs that must all be new."""
        results = self.put(*(new_job(job_id, **fields) for job_id in ids))
        assert results == [EnqueueResult(job_id, stored=True) for job_id in ids]

    def commit(self) -> None:
        """End the transaction."""
        self.connection.commit()

    def rollback(self) -> None:
        """End the transaction as if it had never begun."""
        self.connection.rollback()


@pytest.fixture
def caller(backend: Backend, clock: Clock, connect_as_caller: ConnectAsCaller) -> Iterator[Caller | None]:
    """A caller with a connection of its own, to a store whose tables are there."""
    if Capability.TRANSACTIONAL not in backend.capabilities:
        yield None
        return
    backend.migrate()
    connection = connect_as_caller()
    yield Caller(backend, clock, connection)
    connection.close()


@transactional
def test_a_job_is_stored_when_the_transaction_commits(caller: Caller, worker: Worker) -> None:
    caller.put_new("a", body=b'{"v":1,"args":{"x":"\xc3\xbc"}}', queue="mail", priority=7, max_retries=5)
    caller.commit()
    job = worker.take("a")
    assert (job.body, job.queue, job.priority) == (b'{"v":1,"args":{"x":"\xc3\xbc"}}', "mail", 7)
    assert (job.max_retries, job.attempt, job.enqueued_at) == (5, 1, caller.clock.now)


@transactional
def test_nobody_sees_a_job_before_its_transaction_commits(caller: Caller, worker: Worker) -> None:
    backend = caller.backend
    for job_id in ("a", "b"):  # whatever the first leaves behind, such as DDL, would commit with the second
        caller.put_new(job_id, queue=f"new queue of {job_id}")
        assert worker.reserve() == []
        assert backend.get(["a", "b"]) == []
    caller.commit()
    assert sorted(worker.reserve_ids()) == ["a", "b"]


@requires(Capability.TRANSACTIONAL, Capability.DELAY)
def test_a_rollback_leaves_nothing(caller: Caller, put: Producer, worker: Worker, clock: Clock) -> None:
    caller.put_new("a", "b")
    caller.put_new("later", delay_seconds=60.0)
    caller.rollback()
    stats = exact(caller.backend, clock)
    assert (stats.ready, stats.scheduled) == (0, 0)
    assert caller.backend.get(["a", "b", "later"]) == []
    put("a", delay_seconds=60.0)
    put("later")
    assert worker.reserve_ids() == ["later"]


@requires(Capability.TRANSACTIONAL, Capability.DELAY)
def test_a_batch_in_a_transaction_is_ordered_scheduled_and_expired_as_outside(
    caller: Caller, worker: Worker, clock: Clock
) -> None:
    caller.put_new("low", priority=-1)
    caller.put(new_job("first"), new_job("soon", delay_seconds=5.0), new_job("second"))
    caller.put_new("high", "too late", priority=1)
    caller.put_new("expired", expires_in_seconds=3.0)
    caller.put_new("at", run_at=clock.ahead(4.0))
    caller.commit()
    assert worker.reserve_ids(2) == ["high", "too late"]
    clock.advance(5.0)
    assert caller.backend.promote(10, now=clock.now).moved == 2
    assert worker.reserve_ids() == ["first", "second", "at", "soon", "low"]


@transactional
def test_transactions_of_one_connection_are_independent(caller: Caller, worker: Worker) -> None:
    for number in range(3):
        caller.put_new(f"kept {number}")
        caller.commit()
        caller.put_new(f"lost {number}")
        caller.rollback()
    assert worker.reserve_ids() == ["kept 0", "kept 1", "kept 2"]


# ---------------------------------------------------------------------- ids


@requires(Capability.TRANSACTIONAL, Capability.DELAY)
@pytest.mark.parametrize("delay_seconds", [0.0, 60.0])
def test_an_id_that_is_known_in_any_state_is_not_stored_in_a_transaction(
    caller: Caller, in_each_state: InEachState, delay_seconds: float
) -> None:
    backend = caller.backend
    results = caller.put(*(new_job(job_id, delay_seconds=delay_seconds) for job_id in [*in_each_state, "new"]))
    assert results == [EnqueueResult(state, stored=False) for state in in_each_state] + [EnqueueResult("new", True)]
    caller.commit()
    for state in in_each_state:
        assert state_of(backend, state) == state


@requires(Capability.TRANSACTIONAL, Capability.DELAY)
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.0, 60.0), (60.0, 0.0), (60.0, 60.0)])
def test_an_id_that_comes_twice_in_a_transaction_is_one_job(
    caller: Caller, clock: Clock, delays: tuple[float, float]
) -> None:
    first, second = delays
    caller.put_new("a", delay_seconds=first)
    assert caller.put(new_job("a", delay_seconds=second)) == [EnqueueResult("a", stored=False)]
    caller.commit()
    stats = exact(caller.backend, clock)
    assert stats.ready + stats.scheduled == 1
    assert state_of(caller.backend, "a") == (JobState.SCHEDULED if first else JobState.READY)


@transactional
def test_the_first_of_equal_ids_in_a_batch_of_a_transaction_wins(caller: Caller, worker: Worker) -> None:
    batch = [new_job("a", body=b"1"), new_job("b"), new_job("a", body=b"2")]
    assert [result.stored for result in caller.put(*batch)] == [True, True, False]
    caller.commit()
    assert [(job.id, job.body) for job in worker.reserve()] == [("a", b"1"), ("b", b'{"v":1}')]


@requires(Capability.TRANSACTIONAL, Capability.DELAY)
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.0, 60.0), (60.0, 0.0)])
def test_an_id_that_is_enqueued_elsewhere_meanwhile_is_one_job_whatever_becomes_of_the_transaction(
    caller: Caller, clock: Clock, *, commits: bool, delays: tuple[float, float]
) -> None:
    backend, (own_delay, other_delay) = caller.backend, delays
    caller.put_new("a", delay_seconds=own_delay)
    with ThreadPoolExecutor(1) as threads:
        elsewhere = threads.submit(backend.enqueue, [new_job("a", delay_seconds=other_delay)], now=clock.now)
        caller.commit() if commits else caller.rollback()
        (result,) = elsewhere.result(PATIENCE_SECONDS)
    stats = exact(backend, clock)
    assert stats.ready + stats.scheduled == 1
    if not commits:
        assert result.stored


# ---------------------------------------------------------------------- much at once, waking, refusals


@transactional
def test_more_than_a_batch_is_stored_whole_or_not_at_all(caller: Caller, worker: Worker, clock: Clock) -> None:
    backend = caller.backend
    jobs = [Job[Any]("work", b"{}") for _ in range(2 * backend.max_batch + 1)]
    with_connection = Client(backend).transaction(caller.connection)
    with_connection.enqueue_many(jobs)
    caller.rollback()
    assert exact(backend, clock).ready == 0
    handles = with_connection.enqueue_many(jobs)
    caller.commit()
    clock.advance(60.0)  # the client used the store's own time
    worker.beat()
    reserved = [job_id for _ in range(3) for job_id in worker.reserve_ids(backend.max_batch)]
    assert reserved == [handle.id for handle in handles]


@transactional
def test_a_waiting_worker_finds_the_job_after_the_commit(caller: Caller) -> None:
    backend = caller.backend
    with waiting(backend) as waiter:
        backend.enqueue([new_job("a")], connection=caller.connection)
        caller.commit()
        waiter.assert_finds_work()


@transactional
def test_a_paused_queue_stays_paused_for_jobs_of_a_transaction(caller: Caller, worker: Worker) -> None:
    if Capability.PAUSE in caller.backend.capabilities:
        caller.backend.pause("default")
    caller.put_new("a")
    caller.commit()
    if Capability.PAUSE in caller.backend.capabilities:
        assert worker.reserve() == []
        caller.backend.resume("default")
    assert worker.reserve_ids() == ["a"]


@transactional
def test_what_is_no_connection_is_refused_and_nothing_is_stored(caller: Caller, worker: Worker) -> None:
    for wrong in (object(), "a connection", caller):
        with pytest.raises(ConfigError, match="connection must be"):
            caller.backend.enqueue([new_job("a")], connection=wrong)
    assert worker.reserve() == []


@transactional
def test_a_job_that_is_refused_leaves_the_transaction_as_it_was(caller: Caller, worker: Worker) -> None:
    caller.put_new("before")
    if Capability.UNIQUE not in caller.backend.capabilities:
        with pytest.raises(UnsupportedError, match="unique"):
            caller.put(new_job("refused", unique=UniqueKey(key="k")))
    caller.put_new("after")
    caller.commit()
    assert worker.reserve_ids() == ["before", "after"]
