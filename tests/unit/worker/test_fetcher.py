"""What is fetched, what is given back and when, with `run_once` called by hand."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually
from wg_core import _fetcher
from wg_core._buffer import JobBuffer
from wg_core._fetcher import UNREPORTED_BATCHES, Fetcher
from wg_core._held import Lease
from wg_core._prefetch import UNMEASURED_SUSPECTS, Prefetch
from wg_core._reporter import Reporter
from wg_core._slot import Slot
from wg_core.errors import AmbiguousResultError
from wg_core.job import JobState
from wg_core.outcome import Ack
from wg_core.settings import WorkerSettings
from wg_core.testing.faults import FaultyBackend


class Bench:
    """A fetcher with everything around it, and threads that are said to wait or to be slow."""

    def __init__(self, store: Store, *, threads: int = 4, batch_size: int = 10, queues: Any = None) -> None:
        self.store = store
        self.lease: Lease = store.lease()
        self.slots = [Slot(index) for index in range(threads)]
        self.buffer = JobBuffer()
        self.reporter = Reporter(batch_size)
        settings = WorkerSettings(threads=threads, batch_size=batch_size, queues=queues, fetch_timeout=0.05)
        self.fetcher = Fetcher(
            store.backend,
            settings,
            lambda: self.lease,
            buffer=self.buffer,
            reporter=self.reporter,
            prefetch=Prefetch(lambda: self.slots, batch_size),
        )

    def wait_for_jobs(self, threads: int) -> None:
        self.buffer._idle = threads

    def pace(self, seconds_each: float) -> None:
        for slot in self.slots:
            slot.ended += 1_000
            slot.busy_seconds += 1_000 * seconds_each

    def fill(self, count: int, **attributes: Any) -> None:
        for _ in range(count):
            self.store.put(**attributes)


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def test_nothing_is_fetched_while_all_threads_are_busy(bench: Bench, backend: FaultyBackend) -> None:
    bench.fill(5)
    bench.fetcher.run_once()
    assert backend.calls["reserve"] == 0


def test_at_first_each_idle_thread_gets_one_job(bench: Bench) -> None:
    bench.fill(20)
    bench.wait_for_jobs(3)
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 3
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 3


def test_fast_jobs_are_fetched_ahead_in_batches_of_the_set_size(bench: Bench) -> None:
    bench.fill(200)
    bench.pace(0.000_01)
    sizes = []
    for _ in range(20):
        bench.fetcher.run_once()
        sizes.append(bench.buffer.waiting)
    assert sizes[:3] == [10, 20, 30]
    assert max(sizes) <= 50
    assert len(bench.store.jobs(JobState.RUNNING)) == bench.buffer.waiting


def test_slow_jobs_are_left_to_other_workers(bench: Bench) -> None:
    bench.fill(20)
    bench.pace(1.0)
    bench.wait_for_jobs(1)
    for _ in range(3):
        bench.fetcher.run_once()
    assert bench.buffer.waiting == 1


def test_what_was_fetched_ahead_is_given_back_when_the_jobs_turn_out_slow(bench: Bench) -> None:
    bench.fill(20)
    bench.pace(0.000_01)
    bench.fetcher.run_once()
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 20
    for slot in bench.slots:
        slot.busy_since = time.monotonic() - 1
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 0
    bench.reporter.run_once()
    ready = bench.store.jobs(JobState.READY)
    assert len(ready) == 20
    assert {job.attempt for job in ready} == {0}


def test_nothing_more_is_fetched_while_too_much_is_unreported(bench: Bench, backend: FaultyBackend) -> None:
    bench.fill(1)
    held = bench.store.hold(bench.lease)
    bench.wait_for_jobs(4)
    for _ in range(UNREPORTED_BATCHES * 10):
        bench.reporter.submit(held, Ack(id=held.job.id, lease_no=1))
    before = backend.calls["reserve"]
    bench.fetcher.run_once()
    assert backend.calls["reserve"] == before


@pytest.mark.parametrize("busy", [False, True])
def test_a_reserve_whose_answer_was_lost_is_repeated_even_when_the_threads_are_busy(
    bench: Bench, backend: FaultyBackend, busy: bool
) -> None:
    bench.fill(4)
    bench.wait_for_jobs(4)
    backend.lose_answer("reserve")
    with pytest.raises(AmbiguousResultError):
        bench.fetcher.run_once()
    assert len(bench.store.jobs(JobState.RUNNING)) == 4
    assert bench.buffer.waiting == 0
    if busy:
        bench.wait_for_jobs(0)
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 4
    assert {job.attempt for job in bench.store.jobs(JobState.RUNNING)} == {1}


def test_without_work_it_waits_in_the_store_and_wakes_for_a_job(bench: Bench) -> None:
    bench.wait_for_jobs(1)
    bench.fetcher.start()
    eventually(lambda: bench.fetcher.empty_answers)
    bench.store.put()
    eventually(lambda: bench.buffer.waiting == 1)
    bench.fetcher.stop()
    assert bench.fetcher.join(PATIENCE_SECONDS)


def test_what_is_buffered_is_looked_after_also_while_it_waits_for_work(bench: Bench) -> None:
    bench.fetcher._timeout = 600.0
    bench.fill(4)
    bench.pace(0.000_01)
    bench.fetcher.start()
    eventually(lambda: bench.fetcher.empty_answers)
    assert bench.buffer.waiting == 4
    for slot in bench.slots:
        slot.busy_since = time.monotonic() - 60
    eventually(lambda: bench.buffer.waiting == 0)
    bench.fetcher.stop()
    assert bench.fetcher.join(PATIENCE_SECONDS)


def test_only_the_named_queues_are_served(store: Store) -> None:
    bench = Bench(store, queues=("mail",))
    bench.fill(3, queue="other")
    bench.fill(2, queue="mail")
    bench.wait_for_jobs(4)
    bench.fetcher.run_once()
    assert bench.buffer.waiting == 2
    assert {job.queue for job in store.jobs(JobState.RUNNING)} == {"mail"}


def test_an_expired_lease_is_no_error_because_the_next_beat_may_renew_it(bench: Bench, backend: FaultyBackend) -> None:
    bench.fill(1)
    bench.lease = store_lease_that_never_beat(bench)
    bench.wait_for_jobs(1)
    bench.fetcher.run_once()
    assert backend.calls["reserve"] == 1
    assert bench.buffer.waiting == 0


def store_lease_that_never_beat(bench: Bench) -> Lease:
    return Lease(bench.store.backend, "stranger", bench.store.watch)


def test_under_a_lost_lease_nothing_is_fetched(bench: Bench, backend: FaultyBackend) -> None:
    bench.fill(1)
    bench.wait_for_jobs(1)
    bench.lease.lost = True
    bench.fetcher.run_once()
    assert backend.calls["reserve"] == 0


def test_jobs_that_come_in_after_the_buffer_was_closed_go_back(bench: Bench) -> None:
    bench.fill(3)
    bench.wait_for_jobs(3)
    bench.buffer.close()
    bench.fetcher.run_once()
    bench.reporter.run_once()
    assert len(bench.store.jobs(JobState.READY)) == 3


def make_suspects(bench: Bench, count: int) -> None:
    bench.fill(count)
    held = bench.store.lease("dying").reserve(None, count)
    bench.store.backend.retire("dying", [(one.job.id, one.job.lease_no) for one in held], "killed")


def test_suspects_that_cannot_run_soon_are_left_to_others_for_a_moment(bench: Bench, store: Store) -> None:
    make_suspects(bench, UNMEASURED_SUSPECTS + 5)
    bench.wait_for_jobs(UNMEASURED_SUSPECTS + 2)
    bench.fetcher.run_once()
    assert bench.buffer.suspects_waiting == UNMEASURED_SUSPECTS
    bench.reporter.run_once()
    given_back = store.jobs(JobState.SCHEDULED)
    assert len(given_back) == 2
    assert {job.attempt for job in given_back} == {1}
    assert {job.crashes for job in given_back} == {1}


def test_a_suspect_does_not_wait_behind_one_that_takes_long(bench: Bench, store: Store) -> None:
    make_suspects(bench, 2)
    bench.wait_for_jobs(2)
    bench.fetcher.run_once()
    assert bench.buffer.take() is not None
    bench.buffer._suspect_since = time.monotonic() - 60
    bench.fetcher.run_once()
    assert bench.buffer.suspects_waiting == 0


class Rest:
    """Takes the place of the fetcher's rests, so that none takes time."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_a_wait_that_keeps_ending_without_work_does_not_spin(
    bench: Bench, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetcher, "HINT_SECONDS", math.inf)  # however long such a wait takes on a slow machine
    bench.fetcher._rest = rest = Rest()  # type: ignore[assignment]
    bench.wait_for_jobs(1)
    for _ in range(20):
        backend.interrupt()
        bench.fetcher.run_once()
    assert backend.calls["wait"] == 20
    assert len(rest.seconds) == 19
    assert rest.seconds == sorted(rest.seconds)
    assert rest.seconds[-1] == _fetcher.LOOK_SECONDS


def test_stopping_ends_the_wait_in_the_store(bench: Bench) -> None:
    bench.fetcher._timeout = 600.0
    bench.wait_for_jobs(1)
    bench.fetcher.start()
    eventually(lambda: bench.store.backend.calls["wait"])
    bench.fetcher.stop()
    assert bench.fetcher.join(PATIENCE_SECONDS)
