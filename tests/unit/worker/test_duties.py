"""The small duties, each with `run_once` called by hand, and the loop that runs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually, reserved
from wg_core._beater import Beater, Ticker, new_worker_id
from wg_core._held import HeldJob, Lease
from wg_core._promoter import Promoter
from wg_core._pruner import Pruner
from wg_core._reconciler import AGAIN_SECONDS, LOOK_SECONDS, Reconciler
from wg_core._rescuer import Rescuer
from wg_core._service import FOREVER, REJECTED_PAUSE_SECONDS, Service
from wg_core._store_watch import StoreWatch
from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError
from wg_core.history import AttemptRecord
from wg_core.job import JobState
from wg_core.outcome import Bury
from wg_core.protocol import Retention, WorkerBeat, WorkerNews
from wg_core.testing.faults import FaultyBackend


class Duty(Service):
    """Does what it is told."""

    name = "duty"

    def __init__(self, run: Callable[[], float]) -> None:
        super().__init__()
        self.runs = 0
        self._run = run

    def run_once(self) -> float:
        self.runs += 1
        return self._run()


@pytest.fixture
def start() -> Callable[[Callable[[], float]], Duty]:
    return Duty


# ---------------------------------------------------------------------- the loop


def test_a_duty_pauses_until_it_is_woken_or_stopped() -> None:
    duty = Duty(lambda: FOREVER)
    duty.start()
    eventually(lambda: duty.runs == 1)
    duty.wake()
    eventually(lambda: duty.runs == 2)
    duty.stop()
    assert duty.join(PATIENCE_SECONDS)
    assert duty.runs == 2


def test_stop_and_join_may_come_twice_and_before_start() -> None:
    duty = Duty(lambda: FOREVER)
    assert duty.join()
    duty.stop()
    duty.stop()
    duty.start()
    assert duty.join(PATIENCE_SECONDS)
    assert duty.join(PATIENCE_SECONDS)
    assert duty.runs == 0


def test_a_duty_goes_on_after_any_error(caplog: pytest.LogCaptureFixture) -> None:
    errors = [ValueError("a bug"), BackendUnavailableError("away"), AmbiguousResultError("lost")]
    done = threading.Event()

    def run() -> float:
        if errors:
            raise errors.pop(0)
        done.set()
        return FOREVER

    duty = Duty(run)
    duty.start()
    assert done.wait(PATIENCE_SECONDS)
    duty.stop()
    assert duty.join(PATIENCE_SECONDS)
    assert "duty failed, going on" in caplog.text
    assert "away" not in caplog.text


def test_a_refusal_is_logged_and_tried_again_after_a_long_pause(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> float:
        raise BackendRejectedError("no rights")

    duty = Duty(refuse)
    assert duty._run_guarded() == REJECTED_PAUSE_SECONDS
    assert "duty: the store refused: no rights" in caplog.text


def test_pauses_grow_with_failures_and_shrink_after_a_success() -> None:
    answers: list[float | Exception] = [*[BackendUnavailableError("away")] * 6, 7.0, BackendUnavailableError("away")]

    def run() -> float:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    duty = Duty(run)
    pauses = [duty._run_guarded() for _ in range(8)]
    assert pauses[0] <= 0.15
    assert 1.0 <= pauses[5] <= 3.0
    assert pauses[6] == 7.0
    assert pauses[7] <= 0.15


# ---------------------------------------------------------------------- the store comes and goes


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    watch = StoreWatch()
    for _ in range(3):
        with pytest.raises(BackendUnavailableError), watch.call("reserve"):
            raise BackendUnavailableError("connection refused")
    assert watch.is_away
    assert watch.reachable_for() == 0.0
    for _ in range(3):
        with watch.call("beat"):
            pass
    assert not watch.is_away
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "the store does not answer (reserve: connection refused)" in caplog.messages[0]
    assert caplog.messages[1].startswith("the store is back after ")


def test_a_refusal_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    watch = StoreWatch()
    with pytest.raises(BackendRejectedError), watch.call("reserve"):
        raise BackendRejectedError("no")
    assert not watch.is_away
    assert watch.reachable_for() == FOREVER
    assert not caplog.records


# ---------------------------------------------------------------------- promoter, rescuer, pruner


def test_the_promoter_sleeps_until_the_next_job_is_due_and_no_longer_than_its_interval(store: Store) -> None:
    promoter = Promoter(store.backend, store.watch, interval_seconds=500.0, batch_size=2)
    assert promoter.run_once() == 500.0
    store.put(delay_seconds=10_000.0)
    assert promoter.run_once() == 500.0
    store.put(delay_seconds=100.0)
    assert 0.0 < promoter.run_once() <= 100.0


def test_the_promoter_moves_all_that_is_due_without_a_pause(store: Store) -> None:
    promoter = Promoter(store.backend, store.watch, interval_seconds=5.0, batch_size=2)
    ids = [store.put(delay_seconds=0.001) for _ in range(3)]
    eventually(lambda: promoter.run_once() == 5.0)
    assert [store.state(one) for one in ids] == [JobState.READY] * 3


def test_a_shorter_delay_wakes_the_promoter_and_a_longer_one_does_not(store: Store) -> None:
    promoter = Promoter(store.backend, store.watch, interval_seconds=500.0, batch_size=2)
    promoter.run_once()
    promoter.expect(6_000.0)
    assert not promoter._wakened.is_set()
    promoter.expect(0.5)
    assert promoter._wakened.is_set()


def make_rescuer(store: Store, lease_seconds: float = 30.0, batch_size: int = 10) -> Rescuer:
    rescuing = store.lease("rescuer")
    return Rescuer(
        store.backend,
        store.watch,
        lambda: rescuing.worker,
        interval_seconds=1.0,
        lease_seconds=lease_seconds,
        batch_size=batch_size,
    )


def test_the_rescuer_brings_back_what_a_vanished_worker_held(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    held = store.hold(store.lease("gone"), id="one")
    store.let_lease_end("gone")
    eventually(lambda: make_rescuer(store).run_once() and store.state("one") is JobState.READY)
    assert f"job one work of vanished worker {held.lease.worker} is ready" in caplog.text


def test_hundreds_of_rescued_jobs_are_no_hundreds_of_lines(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put(id="last", max_retries=0, priority=-1)
    for _ in range(40):
        store.put()
    store.lease("gone").reserve(None, 41)
    store.let_lease_end("gone")
    rescuer = make_rescuer(store, batch_size=100)
    eventually(lambda: rescuer.run_once() and store.state("last") is JobState.DEAD)
    assert len(caplog.messages) == 11
    assert "job last work of vanished worker gone is dead" in caplog.messages[0]
    assert caplog.messages[-1] == "31 more jobs of vanished workers were brought back"


def test_a_rescuer_that_could_not_reach_the_store_waits_one_lease_first(store: Store, backend: FaultyBackend) -> None:
    store.hold(store.lease("slow"), id="one")
    store.let_lease_end("slow")
    rescuer = make_rescuer(store)
    backend.unavailable("rescue")
    with pytest.raises(BackendUnavailableError):
        rescuer.run_once()
    store.watch.answered()
    rescuer.run_once()
    assert store.state("one") is JobState.RUNNING
    patient = make_rescuer(store, lease_seconds=0.01)
    eventually(lambda: patient.run_once() and store.state("one") is JobState.READY)


def test_a_store_that_stumbles_again_and_again_does_not_keep_the_rescuer_from_its_work(
    store: Store, backend: FaultyBackend
) -> None:
    """Nobody loses a lease over a moment; a rescuer that waited for it each time would never rescue."""
    store.watch = StoreWatch(brief_seconds=25.0)
    store.hold(store.lease("gone"), id="one")
    store.let_lease_end("gone")
    rescuer = make_rescuer(store)

    def stumbles_then_rescues() -> bool:
        backend.unavailable("rescue")
        with pytest.raises(BackendUnavailableError):
            rescuer.run_once()
        store.watch.answered()
        rescuer.run_once()
        return store.state("one") is JobState.READY

    eventually(stumbles_then_rescues)


def test_the_pruner_deletes_dead_letters_by_its_policy(store: Store) -> None:
    lease = store.lease()
    for number in range(3):
        held = store.hold(lease, id=f"d{number}")
        record = AttemptRecord(attempt=1, outcome="dead", worker="w1")
        lease.report([Bury(id=held.job.id, lease_no=held.job.lease_no, record=record)])
    Pruner(store.backend, store.watch).run_once()
    assert len(store.jobs(JobState.DEAD)) == 3
    Pruner(store.backend, store.watch, Retention(dead_most=1)).run_once()
    assert len(store.jobs(JobState.DEAD)) == 1


# ---------------------------------------------------------------------- reconciler


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.lease()


def lose_a_reserve(store: Store, lease: Lease) -> None:
    """Let the store hold a job under the lease that memory does not know, as if its worker had forgotten it."""
    store.put(id="forgotten")
    store.backend.inner.reserve(None, 1, lease.worker, request_no=900)
    lease.ambiguous_answers += 1


def test_the_store_is_not_asked_without_a_reason(backend: FaultyBackend, lease: Lease) -> None:
    assert Reconciler(lambda: lease).run_once() == LOOK_SECONDS
    assert backend.calls["held"] == 0


def test_a_job_that_is_unknown_twice_in_a_row_is_given_back(store: Store, lease: Lease) -> None:
    lose_a_reserve(store, lease)
    reconciler = Reconciler(lambda: lease)
    assert reconciler.run_once() == AGAIN_SECONDS
    assert store.state("forgotten") is JobState.RUNNING
    reconciler.run_once()
    assert store.state("forgotten") is JobState.READY


def test_jobs_that_memory_knows_are_left_alone(store: Store, lease: Lease) -> None:
    known = store.hold(lease, id="known")
    lose_a_reserve(store, lease)
    reconciler = Reconciler(lambda: lease)
    reconciler.run_once()
    reconciler.run_once()
    assert store.state("known") is JobState.RUNNING
    assert lease.find(("known", 1)) is known


def test_a_job_that_was_unknown_only_once_is_left_alone(store: Store, lease: Lease) -> None:
    lose_a_reserve(store, lease)
    reconciler = Reconciler(lambda: lease)
    reconciler.run_once()
    lease._jobs["forgotten", 1] = HeldJob(reserved(id="forgotten"), lease)
    assert reconciler.run_once() == LOOK_SECONDS
    assert store.state("forgotten") is JobState.RUNNING


def test_nothing_is_concluded_while_a_reserve_is_unanswered(store: Store, backend: FaultyBackend, lease: Lease) -> None:
    store.put(id="one")
    backend.lose_answer("reserve")
    with pytest.raises(AmbiguousResultError):
        lease.reserve(None, 1)
    reconciler = Reconciler(lambda: lease)
    assert [reconciler.run_once(), reconciler.run_once()] == [AGAIN_SECONDS] * 2
    assert backend.calls["held"] == 0
    assert store.state("one") is JobState.RUNNING


def test_nothing_is_given_back_while_a_report_is_unanswered(store: Store, backend: FaultyBackend, lease: Lease) -> None:
    held = store.hold(lease, id="one")
    backend.lose_answer("report")
    with pytest.raises(AmbiguousResultError):
        lease.report([Bury(id="one", lease_no=1, record=AttemptRecord(attempt=1, outcome="dead", worker="w1"))])
    lease.give_back({("one", 1)})
    assert backend.calls["report"] == 1
    assert lease.unknown_jobs() is None
    assert lease.find(("one", 1)) is held


def test_suspicions_do_not_outlive_the_lease(store: Store, lease: Lease) -> None:
    lose_a_reserve(store, lease)
    current = [lease]
    reconciler = Reconciler(lambda: current[0])
    reconciler.run_once()
    current[0] = store.lease("w2")
    reconciler.run_once()
    assert store.state("forgotten") is JobState.RUNNING


# ---------------------------------------------------------------------- beater


def make_beater(store: Store, worker: str = "w1") -> Beater:
    return Beater(store.backend, store.watch, worker, lease=5.0, heartbeat=0.02, info=b"{}")


def test_starting_registers_the_worker_and_its_beats_bring_news(store: Store) -> None:
    heard: list[WorkerNews] = []
    beater = make_beater(store)
    beater.start(lambda news, _paused: heard.append(news))
    assert [worker.id for worker in store.backend.workers()] == ["w1"]
    eventually(lambda: len(heard) > 2)
    beater.stop()
    assert beater.join(PATIENCE_SECONDS)


def test_registering_is_tried_until_the_store_is_there(store: Store, backend: FaultyBackend) -> None:
    backend.unavailable("beat", times=2)
    backend.lose_answer("beat")
    beater = make_beater(store)
    beater.start()
    assert backend.hits["beat"] == 3
    assert len(store.backend.workers()) == 1
    beater.stop()
    assert beater.join(PATIENCE_SECONDS)


def test_registering_can_be_given_up(store: Store, backend: FaultyBackend) -> None:
    backend.unavailable("beat", times=None)
    beater = make_beater(store)
    registering = threading.Thread(target=beater.start)
    registering.start()
    eventually(lambda: backend.hits["beat"])
    beater.stop()
    registering.join(PATIENCE_SECONDS)
    assert not registering.is_alive()


def test_a_worker_that_is_gone_hears_it_and_beats_no_more(store: Store) -> None:
    heard: list[WorkerNews] = []
    beater = make_beater(store)
    beater.start(lambda news, _paused: heard.append(news))
    store.backend.retire("w1", [], "test")
    assert beater.join(PATIENCE_SECONDS)
    assert [news.lease_lost for news in heard if news.lease_lost] == [True]
    assert not store.backend.workers()


def test_worker_ids_are_unique_and_fit_the_contract() -> None:
    ids = {new_worker_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(one) <= 64 and one.isascii() for one in ids)
    WorkerBeat(worker=ids.pop(), lease_seconds=1.0)


def test_nobody_replaces_an_embedded_process(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert not make_beater(store).replace_process("job 1 does not end")
    assert caplog.records[0].levelno == logging.ERROR


def test_the_ticker_ticks_several_times_between_two_beats() -> None:
    ticks: list[int] = []

    class CountingBoard:
        def tick(self) -> None:
            ticks.append(1)

        def started(self, slot: int, job_id: str, lease_no: int, deadline: float | None) -> None: ...

        def ended(self, slot: int) -> None: ...

    assert Ticker(CountingBoard(), heartbeat=2.0).run_once() == 0.5
    assert ticks == [1]
