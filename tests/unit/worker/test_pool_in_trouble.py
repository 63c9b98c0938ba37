"""Lost answers, a store that goes away, lost leases, suspects, jobs of one start, handlers that do not end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually, handler
from wg_core import JobFunction, WorkerPool
from wg_core._lease import REPLACE_ME, OnNews
from wg_core._slot import Slot
from wg_core._timeouts import Grace
from wg_core.context import current_job
from wg_core.errors import JobTimeout
from wg_core.job import JobState
from wg_core.protocol import WorkerBeat, WorkerNews
from wg_core.registry import open_backend
from wg_core.testing.faults import FaultyBackend

MakePool = Callable[..., WorkerPool]


class Count:
    """A handler that counts its runs by job id."""

    def __init__(self, **options: Any) -> None:
        self.runs: Counter[str] = Counter()

        def count() -> None:
            self.runs[current_job().id] += 1

        self.job: JobFunction[..., None] = handler(count, **options)


class Gate:
    """A handler that waits until it is let through, at most as long as a test."""

    def __init__(self, **options: Any) -> None:
        self.running: list[str] = []
        self.open = threading.Event()

        def wait_at_gate() -> None:
            self.running.append(current_job().id)
            self.open.wait(PATIENCE_SECONDS)

        self.job: JobFunction[..., None] = handler(wait_at_gate, **options)


class Stuck:
    """A handler that does not end, whatever is raised in it once, until it is let go."""

    def __init__(self, **options: Any) -> None:
        self.running: list[str] = []
        self._permits: SimpleQueue[None] = SimpleQueue()  # in C: nothing that is raised can break a lock of it

        def stay() -> None:
            try:
                self.running.append(current_job().id)
                self._wait()
            except JobTimeout:
                self._wait()

        self.job: JobFunction[..., None] = handler(stay, **options)

    def let_go(self) -> None:
        for _ in range(2):
            self._permits.put(None)

    def end_its_time(self, pool: WorkerPool) -> None:
        """Let the time of the job be over, from the moment when nothing can end its handler any more."""
        eventually(lambda: self.running)
        (slot,) = (one.slot for one in pool._runtime.executors if self._runs_in(one.slot))
        slot.deadline = time.monotonic()
        pool._runtime.timeouts.wake()

    def _runs_in(self, slot: Slot) -> bool:
        return slot.running is not None and slot.running.job.id == self.running[-1]

    def _wait(self) -> None:
        with suppress(Empty):
            self._permits.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def stuck() -> Iterator[Callable[..., Stuck]]:
    made: list[Stuck] = []

    def make(**options: Any) -> Stuck:
        made.append(Stuck(**options))
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.fixture
def gate() -> Iterator[Callable[..., Gate]]:
    made: list[Gate] = []

    def make(**options: Any) -> Gate:
        made.append(Gate(**options))
        return made[-1]

    yield make
    for one in made:
        one.open.set()


# ---------------------------------------------------------------------- the store


def test_lost_answers_strand_nothing_and_repeat_nothing(store: Store, make_pool: MakePool) -> None:
    backend, count, ids = store.backend, Count(), []
    for method in ("reserve", "report", "promote", "rescue", "beat"):
        for skip in (1, 3, 4):
            backend.lose_answer(method, skip=skip)
    while min(backend.hits["reserve"], backend.hits["report"]) < 3:  # how many jobs share a report is the pool's affair
        ids += [store.enqueue(count.job) for _ in range(50)]
        make_pool(count.job, batch_size=20).run_until_idle(timeout=PATIENCE_SECONDS)
        assert store.is_empty()
    assert count.runs == Counter(ids)


def test_random_faults_in_a_fifth_of_all_calls_lose_nothing(store: Store, make_pool: MakePool, namespace: str) -> None:
    count = Count()
    ids = [store.enqueue(count.job) for _ in range(500)]
    faulty = FaultyBackend(open_backend("memory:", namespace=namespace), seed=7)
    faulty.fail_by_chance(0.2)
    pool = make_pool(count.job, on=faulty, threads=4, batch_size=10)
    pool.start()
    eventually(store.is_empty)
    faulty.heal()
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    assert sum(faulty.hits.values()) > 10
    assert count.runs == Counter(ids)


def test_running_jobs_go_on_while_the_store_is_away_and_are_reported_when_it_is_back(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    one, count = gate(), Count()
    with make_pool(one.job, count.job):
        store.enqueue(one.job)
        eventually(lambda: one.running)
        for method in ("reserve", "report", "promote", "rescue", "beat", "held", "prune"):
            store.backend.unavailable(method, times=None)
        eventually(lambda: store.backend.hits["beat"] > 3)
        one.open.set()
        eventually(lambda: store.backend.hits["report"] > 2)
        assert len(store.jobs(JobState.RUNNING)) == 1
        store.backend.heal()
        last = store.enqueue(count.job)
        eventually(lambda: count.runs[last])
        eventually(store.is_empty)
        # A call that was on its way while the store went or came may begin or end an outage of its own.
        eventually(lambda: 0 < told(caplog, "does not answer") == told(caplog, "is back"))
    assert told(caplog, "does not answer") < sum(store.backend.hits.values())


def told(caplog: pytest.LogCaptureFixture, what: str) -> int:
    return sum(f"the store {what}" in message for message in caplog.messages)


# ---------------------------------------------------------------------- leases


def test_after_a_lost_lease_the_pool_goes_on_under_a_new_id(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate]
) -> None:
    heard: list[tuple[bool, bool]] = []
    began = threading.Event()

    def notice() -> None:
        job = current_job()
        if job.lease_no == 1:
            began.set()
            eventually(lambda: job.lease_lost)
            heard.append((job.lease_lost, job.cancelled))

    notice_job = handler(notice)
    with make_pool(notice_job) as pool:
        first_id = pool.worker_id
        store.enqueue(notice_job)
        assert began.wait(PATIENCE_SECONDS)
        store.backend.retire(first_id, [], "taken for dead")
        eventually(lambda: pool.worker_id != first_id)
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert heard == [(True, True)]
    assert store.is_empty()
    assert not store.backend.workers()


def test_what_ends_under_a_lost_lease_is_not_recorded(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate]
) -> None:
    one = gate()
    with make_pool(one.job, threads=1) as pool:
        job_id = store.enqueue(one.job)
        eventually(lambda: one.running)
        store.backend.pause("default")
        old_id = pool.worker_id
        store.backend.retire(old_id, [(job_id, 1)], "taken for dead")
        eventually(lambda: pool.worker_id != old_id)
        one.open.set()
        eventually(lambda: pool._runtime.buffer.idle == 1)
        record = store.record(job_id)
        assert record is not None
        assert (record.state, record.crashes) == (JobState.READY, 1)


class Keeper:
    """A lease keeper like that of a supervisor, played by the test."""

    def __init__(self, store: Store, worker: str) -> None:
        self.on_news: OnNews | None = None
        self.stopped = threading.Event()
        self.reasons: list[str] = []
        self._store, self._worker = store, worker

    def start(self, on_news: OnNews) -> None:
        self._store.backend.inner.beat([WorkerBeat(worker=self._worker, lease_seconds=60, first=True)])
        self.on_news = on_news

    def stop(self) -> None:
        self.stopped.set()

    def replace_process(self, reason: str) -> bool:
        self.reasons.append(reason)
        return True


def test_under_a_supervisor_a_lost_lease_ends_the_process(store: Store, make_pool: MakePool) -> None:
    keeper = Keeper(store, "supervised")
    pool = make_pool(Count().job, _lease_keeper=keeper, _worker_id="supervised")
    pool.start()
    assert pool.worker_id == "supervised"
    assert keeper.on_news is not None
    keeper.on_news(WorkerNews(lease_lost=True), frozenset())
    assert pool.join(PATIENCE_SECONDS)
    assert pool.exit_code == REPLACE_ME
    assert keeper.stopped.is_set()


# ---------------------------------------------------------------------- jobs of one start, and suspects


def test_a_job_of_one_start_is_announced_before_its_handler_runs(store: Store, make_pool: MakePool) -> None:
    seen: list[bool] = []

    def once() -> None:
        record = store.record(current_job().id)
        assert record is not None
        seen.append(record.started)

    once_job = handler(once, at_most_once=True)
    store.enqueue(once_job)
    make_pool(once_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert seen == [True]
    assert store.is_empty()


def test_a_job_of_one_start_that_fails_is_dead(store: Store, make_pool: MakePool) -> None:
    def once() -> None:
        raise ValueError("no")

    once_job = handler(once, at_most_once=True)
    job_id = store.enqueue(once_job)
    make_pool(once_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert store.state(job_id) is JobState.DEAD


def test_a_job_of_one_start_that_was_given_away_does_not_start(store: Store, make_pool: MakePool) -> None:
    count = Count(at_most_once=True)
    may_report = threading.Event()
    store.backend.hold("report", until=may_report)
    pool = make_pool(count.job)
    pool.start()
    job_id = store.enqueue(count.job)
    eventually(lambda: store.backend.hits["report"])
    store.backend.pause("default")
    store.backend.retire(pool.worker_id, [], "taken for dead")
    may_report.set()
    eventually(lambda: pool._runtime.buffer.idle == 2)
    assert not count.runs
    assert store.state(job_id) is JobState.READY


def make_suspects(store: Store, function: JobFunction[..., Any], count: int) -> list[str]:
    ids = [store.enqueue(function) for _ in range(count)]
    held = store.lease("dying").reserve(None, count)
    store.backend.retire("dying", [(one.job.id, one.job.lease_no) for one in held], "killed")
    return ids


def test_suspects_run_one_at_a_time_and_announced_while_others_run_beside_them(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate]
) -> None:
    suspicious, count = gate(), Count()
    make_suspects(store, suspicious.job, 3)
    with make_pool(suspicious.job, count.job, threads=4) as pool:
        eventually(lambda: suspicious.running)
        record = store.record(suspicious.running[0])
        assert record is not None
        assert record.started
        others = [store.enqueue(count.job) for _ in range(50)]
        eventually(lambda: count.runs == Counter(others))
        assert len(suspicious.running) == 1
        suspicious.open.set()
        eventually(lambda: len(suspicious.running) == 3)
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert store.is_empty()


def test_the_late_end_of_a_suspect_that_was_given_up_does_not_let_two_others_run(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate], stuck: Callable[..., Stuck]
) -> None:
    late, suspicious = stuck(name="stuck", max_retries=1, priority=1), gate(name="suspicious")
    make_suspects(store, suspicious.job, 3)
    make_suspects(store, late.job, 1)
    with make_pool(late.job, suspicious.job, threads=4, _grace=UNMOVED) as pool:
        late.end_its_time(pool)
        eventually(lambda: suspicious.running)
        threads = {thread for thread in threading.enumerate() if thread.name.startswith("wg-executor")}
        late.let_go()
        eventually(lambda: any(not thread.is_alive() for thread in threads))
        no_suspect = store.enqueue(suspicious.job)
        eventually(lambda: no_suspect in suspicious.running)
        assert len(suspicious.running) == 2
        assert pool._runtime.buffer.suspect_runs_for() is not None
        suspicious.open.set()
        pool.run_until_idle(timeout=PATIENCE_SECONDS)


# ---------------------------------------------------------------------- timeouts

MOVED = Grace(cooperative=0.02, between_raises=0.05, stuck=600.0)
UNMOVED = Grace(cooperative=0.0, between_raises=600.0, stuck=0.2)


def test_a_handler_that_computes_too_long_is_ended_and_retried(store: Store, make_pool: MakePool) -> None:
    def compute() -> None:
        while current_job().attempt == 1:
            pass

    compute_job = handler(compute, timeout=0.05, retry_delay=0.01, max_retries=100)
    job_id = store.enqueue(compute_job)
    with make_pool(compute_job, _grace=MOVED):
        eventually(lambda: store.jobs(JobState.RETRY) or store.is_empty())
        record = store.record(job_id)
        if record is not None and record.history:
            assert record.history[0].error_message == (
                "the timeout of 0.05 s passed; ended by an exception raised in its thread"
            )
        eventually(store.is_empty)


def test_an_embedded_thread_that_does_not_move_is_given_up_and_replaced(
    store: Store, make_pool: MakePool, stuck: Callable[..., Stuck], caplog: pytest.LogCaptureFixture
) -> None:
    one, count = stuck(max_retries=0), Count()
    with make_pool(one.job, count.job, threads=1, _grace=UNMOVED) as pool:
        stuck_id = store.enqueue(one.job)
        one.end_its_time(pool)
        eventually(lambda: store.state(stuck_id) is JobState.DEAD)
        next_id = store.enqueue(count.job)
        eventually(lambda: count.runs[next_id])
        one.let_go()
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(stuck_id)
    assert record is not None
    assert "its thread did not move and was given up" in (record.history[0].error_message or "")
    assert "its thread is given up and another takes its place" in caplog.text
    assert pool.exit_code == 0


def test_under_a_supervisor_the_process_is_replaced_after_its_siblings_finished(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate], stuck: Callable[..., Stuck]
) -> None:
    one, sibling = stuck(), gate(timeout=None)
    keeper = Keeper(store, "supervised")
    pool = make_pool(one.job, sibling.job, _lease_keeper=keeper, _worker_id="supervised", _grace=UNMOVED)
    stuck_id, sibling_id = store.enqueue(one.job), store.enqueue(sibling.job)
    pool.start()
    eventually(lambda: sibling.running)
    one.end_its_time(pool)
    eventually(lambda: keeper.reasons)
    assert f"job {stuck_id} stay" in keeper.reasons[0]
    assert pool._runtime.fetcher.join(PATIENCE_SECONDS)
    assert not pool.join(0.1)
    left = store.enqueue(sibling.job)
    assert store.state(stuck_id) is JobState.RUNNING  # until the process is gone, as far as anybody can tell
    sibling.open.set()
    assert pool.join(PATIENCE_SECONDS)
    assert pool.exit_code == REPLACE_ME
    assert store.state(sibling_id) is None
    assert store.state(left) is JobState.READY
    record = store.record(stuck_id)
    assert record is not None
    assert record.state is JobState.RETRY
    assert "so its process is replaced" in (record.history[0].error_message or "")


def test_a_stop_while_the_process_is_replaced_gives_the_siblings_their_time(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate], stuck: Callable[..., Stuck]
) -> None:
    one, sibling = stuck(), gate(timeout=None)
    keeper = Keeper(store, "supervised")
    pool = make_pool(one.job, sibling.job, _lease_keeper=keeper, _worker_id="supervised", _grace=UNMOVED)
    store.enqueue(one.job)
    sibling_id = store.enqueue(sibling.job)
    pool.start()
    eventually(lambda: sibling.running)
    one.end_its_time(pool)
    eventually(lambda: keeper.reasons)
    pool.stop()
    assert not pool.join(0.2)
    sibling.open.set()
    assert pool.join(PATIENCE_SECONDS)
    assert store.state(sibling_id) is None


class LoggingBoard:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[Any, ...]] = []
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1

    def started(self, slot: int, job_id: str, lease_no: int, deadline: float | None) -> None:
        self.shown.append(("started", slot, job_id, lease_no, deadline is not None))

    def ended(self, slot: int) -> None:
        self.shown.append(("ended", slot))


def test_the_board_shows_which_handlers_run(store: Store, make_pool: MakePool) -> None:
    board, count = LoggingBoard(), Count()
    job_id = store.enqueue(count.job)
    with make_pool(count.job, threads=1, _board=board) as pool:
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
        eventually(lambda: board.ticks > 2)
    assert board.shown == [("started", 0, job_id, 1, True), ("ended", 0)]


# ---------------------------------------------------------------------- fairness, idleness


def test_a_busy_worker_leaves_slow_jobs_to_an_idle_one(
    store: Store, make_pool: MakePool, gate: Callable[..., Gate]
) -> None:
    slow = gate()
    with make_pool(slow.job, threads=2) as pool:
        for _ in range(6):
            store.enqueue(slow.job)
        eventually(lambda: len(slow.running) == 2)
        eventually(lambda: len(store.jobs(JobState.READY)) == 4)
        assert len(store.backend.inner.held(pool.worker_id)) == 2
        slow.open.set()
        pool.run_until_idle(timeout=PATIENCE_SECONDS)


def test_an_idle_worker_uses_next_to_no_processor_time(store: Store, make_pool: MakePool) -> None:
    others = set(threading.enumerate())
    with make_pool(Count().job, heartbeat=2.0, lease=30.0, fetch_timeout=5.0, threads=8) as pool:
        eventually(lambda: pool._runtime.buffer.idle == 8)
        clocks = [time.pthread_getcpuclockid(one.ident or 0) for one in set(threading.enumerate()) - others]
        assert len(clocks) > 8
        began, before = time.monotonic(), sum(map(time.clock_gettime, clocks))
        threading.Event().wait(1.5)
        used = sum(map(time.clock_gettime, clocks)) - before
        assert used < 0.06 * (time.monotonic() - began)
