"""Batches, repetition and refusals, with `run_once` called by hand."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually
from wg_core._held import HeldJob, Lease
from wg_core._reporter import BATCH_MOST, Reporter
from wg_core.context import CurrentJob
from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError
from wg_core.history import AttemptRecord
from wg_core.job import JobState, Timestamp
from wg_core.memory import MemoryBackend
from wg_core.outcome import Ack, Applied, Bury, Outcome, Release, Retry
from wg_core.testing.faults import FaultyBackend


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.lease()


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(batch_size=10)


def ack(held: HeldJob) -> Ack:
    return Ack(id=held.job.id, lease_no=held.job.lease_no)


def retry(held: HeldJob, delay: float) -> Retry:
    record = AttemptRecord(attempt=1, outcome="retry", worker="w1")
    return Retry(id=held.job.id, lease_no=held.job.lease_no, delay_seconds=delay, record=record)


def hold_many(store: Store, lease: Lease, count: int) -> list[HeldJob]:
    for _ in range(count):
        store.put()
    return lease.reserve(None, count)


def test_outcomes_are_reported_together_and_forgotten(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter
) -> None:
    for held in hold_many(store, lease, 25):
        reporter.submit(held, ack(held))
    assert reporter.unreported == 25
    reporter.run_once()
    assert backend.calls["report"] == 1
    assert reporter.unreported == 0
    assert lease.held_count == 0
    assert store.is_empty()


def test_no_report_carries_more_than_the_most(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter
) -> None:
    for held in hold_many(store, lease, BATCH_MOST + 1):
        reporter.submit(held, ack(held))
    assert reporter.run_once() == 0.0
    assert reporter.unreported == 1
    reporter.run_once()
    assert backend.calls["report"] == 2
    assert store.is_empty()


@pytest.mark.parametrize("fault", ["lose_answer", "unavailable"])
def test_a_report_without_an_answer_is_repeated_until_there_is_one(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter, fault: str
) -> None:
    first, second = hold_many(store, lease, 2)
    reporter.submit(first, ack(first))
    getattr(backend, fault)("report", times=2)
    for _ in range(2):
        with pytest.raises((AmbiguousResultError, BackendUnavailableError)):
            reporter.run_once()
        assert reporter.unreported == 1
    reporter.submit(second, ack(second))
    reporter.run_once()
    reporter.run_once()
    assert backend.hits["report"] == 2
    assert store.is_empty()
    assert lease.held_count == 0


def test_an_outcome_that_comes_too_late_is_logged(
    store: Store, lease: Lease, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    held = store.hold(lease, id="mine")
    store.backend.retire("w1", [], "test")
    reporter.submit(held, ack(held))
    reporter.run_once()
    assert "job mine work [default] attempt 1/4: its lease was lost, so Ack was not recorded" in caplog.text
    assert store.state("mine") is JobState.READY


def test_outcomes_of_a_lost_lease_are_dropped_without_asking_the_store(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter
) -> None:
    held = store.hold(lease)
    reporter.submit(held, ack(held))
    lease.lost = True
    reporter.run_once()
    assert backend.calls["report"] == 0
    assert reporter.unreported == 0


def test_two_leases_never_share_a_report(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter
) -> None:
    other = store.lease("w2")
    for one in (store.hold(lease), store.hold(other), store.hold(other)):
        reporter.submit(one, ack(one))
    reporter.run_once()
    reporter.run_once()
    assert backend.calls["report"] == 2
    assert store.is_empty()


def test_a_start_is_answered(store: Store, lease: Lease, reporter: Reporter) -> None:
    held = store.hold(lease, id="one", at_most_once=True)
    announcement = reporter.announce(held)
    assert announcement.wait(0) is None
    reporter.run_once()
    assert announcement.wait(0) is Applied.APPLIED
    record = store.record("one")
    assert record is not None
    assert record.started
    assert lease.held_count == 1


def test_a_start_that_is_too_late_says_so(store: Store, lease: Lease, reporter: Reporter) -> None:
    held = store.hold(lease)
    store.backend.retire("w1", [], "test")
    announcement = reporter.announce(held)
    reporter.run_once()
    assert announcement.wait(0) is Applied.LOST


def show_progress(reporter: Reporter, held: HeldJob, value: int) -> None:
    CurrentJob(held, None, reporter.submit_progress).progress(value)


def stored_progress(store: Store, held: HeldJob) -> bytes | None:
    record = store.record(held.job.id)
    assert record is not None
    return record.progress


def test_of_several_progress_values_the_newest_is_stored(store: Store, lease: Lease, reporter: Reporter) -> None:
    held = store.hold(lease)
    show_progress(reporter, held, 1)
    show_progress(reporter, held, 2)
    assert reporter.unreported == 1
    reporter.run_once()
    assert stored_progress(store, held) == b"2"
    show_progress(reporter, held, 3)
    reporter.run_once()
    assert stored_progress(store, held) == b"3"


def test_the_newest_progress_is_stored_also_when_two_threads_of_the_handler_showed_theirs_at_once(
    store: Store, lease: Lease, reporter: Reporter
) -> None:
    held = store.hold(lease)
    show_progress(reporter, held, 1)
    reporter.submit_progress(held)  # of the second thread, which saw nothing waiting either
    reporter.run_once()
    reporter.run_once()
    assert stored_progress(store, held) == b"1"


def test_progress_that_was_in_a_refused_batch_keeps_its_value(namespace: str, reporter: Reporter) -> None:
    with Choosy.open("memory:", namespace) as backend:
        store = Store(FaultyBackend(backend))
        lease = store.lease()
        good, bad = store.hold(lease, id="good"), store.hold(lease, id="bad")
        show_progress(reporter, good, 7)
        reporter.submit(bad, ack(bad))
        eventually(lambda: reporter.run_once() and not reporter.unreported)
        assert stored_progress(store, good) == b"7"


def test_many_outcomes_that_come_too_late_are_logged_in_one_line(
    store: Store, lease: Lease, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    for held in hold_many(store, lease, 5):
        reporter.submit(held, ack(held))
    store.backend.retire("w1", [], "test")
    reporter.run_once()
    (line,) = caplog.messages
    assert "nor were 4 other outcomes" in line


class Broken(MemoryBackend):
    """Fails over every batch that holds an outcome of the job `bad`, with an error that no backend may raise."""

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        if any(one.id == "bad" for one in outcomes):
            raise OverflowError
        return super().report(worker, outcomes, request_no=request_no, now=now)


def test_an_outcome_over_which_the_backend_breaks_does_not_hold_up_the_others(
    namespace: str, reporter: Reporter
) -> None:
    with Broken.open("memory:", namespace) as backend:
        store = Store(FaultyBackend(backend))
        lease = store.lease()
        for job_id in ("a", "bad", "b"):
            held = store.hold(lease, id=job_id)
            reporter.submit(held, ack(held))
        reporter.start()
        eventually(lambda: (store.state("a"), store.state("b")) == (None, None))
        reporter.abandon()
        assert reporter.join(PATIENCE_SECONDS)
        assert reporter.unreported == 1
        assert (store.state("a"), store.state("bad"), store.state("b")) == (None, JobState.RUNNING, None)


class Choosy(MemoryBackend):
    """Refuses every batch that holds an outcome of the job `bad`, unless that is a Bury."""

    bury_too = False

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        if any(one.id == "bad" and (self.bury_too or not isinstance(one, Bury)) for one in outcomes):
            raise BackendRejectedError("bad is refused")
        return super().report(worker, outcomes, request_no=request_no, now=now)


@pytest.mark.parametrize("bury_too", [False, True])
def test_an_outcome_that_the_store_refuses_takes_no_other_along(
    namespace: str, reporter: Reporter, bury_too: bool
) -> None:
    backend = Choosy.open("memory:", namespace)
    backend.bury_too = bury_too
    store = Store(FaultyBackend(backend))
    lease = store.lease()
    for job_id in ("a", "bad", "b"):
        held = store.hold(lease, id=job_id)
        reporter.submit(held, ack(held))
    eventually(lambda: reporter.run_once() and not reporter.unreported)
    assert (store.state("a"), store.state("b")) == (None, None)
    assert store.state("bad") is (JobState.RUNNING if bury_too else JobState.DEAD)
    assert lease.held_count == 0
    if not bury_too:
        record = store.record("bad")
        assert record is not None
        assert "the store refused Ack" in (record.history[0].error_message or "")
    backend.close()


def test_whoever_waits_for_due_jobs_hears_of_the_shortest_delay(store: Store, lease: Lease, reporter: Reporter) -> None:
    heard: list[float] = []
    reporter.on_delay = heard.append
    first, second, third = hold_many(store, lease, 3)
    reporter.submit(first, retry(first, 9.0))
    reporter.submit(second, Release(id=second.job.id, lease_no=1, delay_seconds=2.0))
    reporter.submit(third, Release(id=third.job.id, lease_no=1))
    reporter.run_once()
    assert heard == [2.0]


def test_whoever_waits_for_room_is_woken_by_an_answer(store: Store, lease: Lease, reporter: Reporter) -> None:
    reporter.on_answer = threading.Event()
    held = store.hold(lease)
    reporter.submit(held, ack(held))
    reporter.run_once()
    assert reporter.on_answer.is_set()


def test_stopping_reports_everything_first(store: Store, lease: Lease, reporter: Reporter) -> None:
    for held in hold_many(store, lease, BATCH_MOST + 7):
        reporter.submit(held, ack(held))
    reporter.start()
    reporter.stop()
    assert reporter.join(PATIENCE_SECONDS)
    assert store.is_empty()


def test_an_abandoned_reporter_ends_although_the_store_is_away(
    store: Store, backend: FaultyBackend, lease: Lease, reporter: Reporter
) -> None:
    held = store.hold(lease)
    backend.unavailable("report", times=None)
    reporter.submit(held, ack(held))
    reporter.start()
    eventually(lambda: backend.hits["report"])
    reporter.abandon()
    assert reporter.join(PATIENCE_SECONDS)
    assert reporter.unreported == 1
