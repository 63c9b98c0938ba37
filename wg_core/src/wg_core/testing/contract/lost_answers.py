"""Answers that never arrive. Invariant 16: what is repeated strands nothing, doubles nothing, burns no attempt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError
from wg_core.outcome import Ack, Applied, Outcome, Release
from wg_core.protocol import CancelJobs, Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import LEASE_SECONDS, NewWorker, Producer, Worker, exact, new_job, queue_stats
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.faults import FaultyBackend

Answer = TypeVar("Answer")


def repeat_until_answered(call: Callable[[], Answer]) -> Answer:
    """Repeat the same call as a worker does after an ambiguous error."""
    for _ in range(10):
        try:
            return call()
        except (AmbiguousResultError, BackendUnavailableError):
            continue
    raise AssertionError("the fault never healed")


# ---------------------------------------------------------------------- reserve


def test_a_reserve_repeated_under_its_number_returns_the_same_jobs(put: Producer, worker: Worker) -> None:
    put("a", "b", "c", "d", body=b"body", priority=3)
    jobs = worker.reserve(2, request_no=7)
    assert worker.reserve(2, request_no=7) == jobs
    assert worker.reserve(2, request_no=7) == jobs
    assert worker.held() == [("a", 1), ("b", 1)]
    assert [job.id for job in worker.reserve(2, request_no=8)] == ["c", "d"]


def test_a_reserve_whose_answer_was_lost_is_repeated_without_burning_an_attempt(
    put: Producer, far_worker: Worker, faulty: FaultyBackend
) -> None:
    put("a", "b")
    faulty.lose_answer("reserve", times=2)
    jobs = repeat_until_answered(lambda: far_worker.reserve(1, request_no=1))
    assert faulty.hits["reserve"] == 2
    assert [(job.id, job.attempt, job.lease_no) for job in jobs] == [("a", 1, 1)]
    assert far_worker.held() == [("a", 1)]


def test_a_reserve_repeated_under_its_number_returns_only_what_still_runs(put: Producer, worker: Worker) -> None:
    put("a", "b", "c")
    a, b, c = worker.reserve(3, request_no=1)
    worker.ack(a)
    worker.release(c)
    assert worker.reserve(3, request_no=1) == [b]


def test_a_job_that_was_reserved_again_since_is_not_returned_under_the_old_number(
    put: Producer, worker: Worker, new_worker: NewWorker
) -> None:
    put("a", "b")
    a, b = worker.reserve(2, request_no=1)
    worker.release(a)
    new_worker().take("a")
    assert worker.reserve(2, request_no=1) == [b]


def test_the_number_of_an_empty_reserve_may_be_used_again(put: Producer, worker: Worker) -> None:
    assert worker.reserve(1, request_no=1) == []
    put("a")
    assert [job.id for job in worker.reserve(1, request_no=1)] in (["a"], [])
    assert [job.id for job in worker.reserve(1, request_no=2)] in ([], ["a"])
    assert worker.held() == [("a", 1)]


def test_a_lower_reserve_number_is_refused_and_reserves_nothing(put: Producer, worker: Worker) -> None:
    put("a", "b")
    worker.reserve(1, request_no=5)
    with pytest.raises(BackendRejectedError):
        worker.reserve(1, request_no=4)
    assert worker.held() == [("a", 1)]


def test_reserve_numbers_may_skip_and_be_large(put: Producer, worker: Worker) -> None:
    put("a", "b")
    assert len(worker.reserve(1, request_no=10)) == 1
    assert len(worker.reserve(1, request_no=2**53)) == 1
    with pytest.raises(BackendRejectedError):
        worker.reserve(1, request_no=2**53 - 1)


def test_request_numbers_are_counted_apart_per_worker_and_operation(
    put: Producer, worker: Worker, new_worker: NewWorker
) -> None:
    put("a", "b")
    other = new_worker()
    (a,) = worker.reserve(1, request_no=9)
    (b,) = other.reserve(1, request_no=1)
    assert worker.report(Ack(id=a.id, lease_no=a.lease_no), request_no=1) == [Applied.APPLIED]
    assert other.report(Ack(id=b.id, lease_no=b.lease_no), request_no=1) == [Applied.APPLIED]


# ---------------------------------------------------------------------- report


def test_a_report_repeated_under_its_number_gets_the_same_answer_and_does_nothing(
    put: Producer, worker: Worker
) -> None:
    put("a", "b", "c", "d")
    a, b, c, d = worker.reserve()
    outcomes: list[Outcome] = [
        Ack(id=a.id, lease_no=a.lease_no),
        Ack(id=b.id, lease_no=99),
        Release(id=c.id, lease_no=c.lease_no),
        Ack(id="nobody", lease_no=1),
    ]
    expected = [Applied.APPLIED, Applied.LOST, Applied.APPLIED, Applied.LOST]
    assert worker.report(*outcomes, request_no=3) == expected
    assert worker.reserve_ids() == ["c"]
    assert worker.report(*outcomes, request_no=3) == expected
    assert worker.report(*outcomes, request_no=3) == expected
    assert worker.held() == [("b", 1), ("c", 2), ("d", 1)]
    assert worker.report(Ack(id=d.id, lease_no=d.lease_no), request_no=4) == [Applied.APPLIED]


def test_a_report_whose_answer_was_lost_is_told_the_truth_when_repeated(
    put: Producer, far_worker: Worker, faulty: FaultyBackend
) -> None:
    put("a", "b")
    a, _ = far_worker.reserve()
    faulty.lose_answer("report", times=3)
    outcomes = (Ack(id="a", lease_no=a.lease_no), Ack(id="b", lease_no=42))
    answer = repeat_until_answered(lambda: far_worker.report(*outcomes, request_no=1))
    assert faulty.hits["report"] == 3
    assert answer == [Applied.APPLIED, Applied.LOST]


def test_a_retry_whose_answer_was_lost_counts_once(put: Producer, far_worker: Worker, faulty: FaultyBackend) -> None:
    put("a")
    job = far_worker.take("a")
    release = Release(id="a", lease_no=job.lease_no)
    faulty.lose_answer("report")
    assert repeat_until_answered(lambda: far_worker.report(release, request_no=1)) == [Applied.APPLIED]
    job = far_worker.take("a")
    assert (job.attempt, job.lease_no) == (1, 2)


def test_a_repeated_report_does_not_touch_a_job_that_was_reserved_again_by_the_same_worker(
    put: Producer, worker: Worker
) -> None:
    put("a")
    job = worker.take("a")
    release = Release(id="a", lease_no=job.lease_no)
    assert worker.report(release, request_no=1) == [Applied.APPLIED]
    worker.take("a")
    assert worker.report(release, request_no=1) == [Applied.APPLIED]
    assert worker.held() == [("a", 2)]


def test_a_lower_report_number_is_refused_and_changes_nothing(put: Producer, worker: Worker) -> None:
    put("a", "b")
    a, b = worker.reserve()
    worker.report(Ack(id="a", lease_no=a.lease_no), request_no=5)
    with pytest.raises(BackendRejectedError):
        worker.report(Ack(id="b", lease_no=b.lease_no), request_no=4)
    assert worker.held() == [("b", 1)]


def test_an_answer_is_remembered_though_every_outcome_was_lost(put: Producer, worker: Worker) -> None:
    put("a")
    ack = Ack(id="a", lease_no=1)
    assert worker.report(ack, request_no=1) == [Applied.LOST]
    worker.take("a")
    assert worker.report(ack, request_no=1) == [Applied.LOST]
    assert worker.report(ack, request_no=2) == [Applied.APPLIED]


def test_the_answer_to_a_large_report_is_remembered_whole(put: Producer, worker: Worker) -> None:
    put(*(f"{number}" for number in range(2_000)))
    jobs = worker.reserve(2_000)
    outcomes = [Ack(id=job.id, lease_no=job.lease_no + (number % 3 == 0)) for number, job in enumerate(jobs)]
    answer = worker.report(*outcomes, request_no=1)
    assert answer == [Applied.LOST if number % 3 == 0 else Applied.APPLIED for number in range(2_000)]
    assert worker.report(*outcomes, request_no=1) == answer


@requires(Capability.INSPECT)
def test_a_repeated_report_counts_nothing_twice(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    ack = Ack(id="a", lease_no=worker.take("a").lease_no)
    for _ in range(3):
        worker.report(ack, request_no=1)
    assert queue_stats(backend, clock).done == 1


# ---------------------------------------------------------------------- the others


def test_an_enqueue_whose_answer_was_lost_is_repeated_without_a_second_job(
    faulty: FaultyBackend, worker: Worker, clock: Clock
) -> None:
    batch = [new_job("a"), new_job("b")]
    faulty.lose_answer("enqueue")
    results = repeat_until_answered(lambda: faulty.enqueue(batch, now=clock.now))
    assert faulty.hits["enqueue"] == 1
    assert [(result.id, result.stored) for result in results] == [("a", False), ("b", False)]
    assert worker.reserve_ids() == ["a", "b"]


@requires(Capability.DELAY)
def test_a_promote_whose_answer_was_lost_is_repeated_without_a_second_move(
    put: Producer, faulty: FaultyBackend, worker: Worker, clock: Clock
) -> None:
    put("a", "b", delay_seconds=1.0)
    clock.advance(1.0)
    faulty.lose_answer("promote")
    assert repeat_until_answered(lambda: faulty.promote(10, now=clock.now)).moved == 0
    assert faulty.hits["promote"] == 1
    assert sorted(worker.reserve_ids()) == ["a", "b"]


def test_a_rescue_whose_answer_was_lost_is_repeated_without_a_second_charge(
    put: Producer, worker: Worker, new_worker: NewWorker, faulty: FaultyBackend, *, clock: Clock
) -> None:
    put("a")
    worker.take("a")
    clock.advance(LEASE_SECONDS + 1.0)
    faulty.lose_answer("rescue")
    assert repeat_until_answered(lambda: faulty.rescue(10, now=clock.now)) == []
    job = new_worker().take("a")
    assert (job.attempt, job.crashes) == (2, 1)


def test_a_retire_whose_answer_was_lost_is_repeated_without_a_second_charge(
    put: Producer, worker: Worker, new_worker: NewWorker, faulty: FaultyBackend, *, clock: Clock
) -> None:
    put("a")
    started = [("a", worker.take("a").lease_no)]
    faulty.lose_answer("retire")
    assert repeat_until_answered(lambda: faulty.retire(worker.id, started, "killed", now=clock.now)) == []
    assert new_worker().take("a").crashes == 1


def test_a_first_beat_whose_answer_was_lost_is_repeated(put: Producer, faulty: FaultyBackend, clock: Clock) -> None:
    worker = Worker(faulty, clock, "far-away")
    faulty.lose_answer("beat")
    assert not repeat_until_answered(lambda: worker.beat(first=True)).lease_lost
    put("a")
    worker.take("a")


@requires(Capability.ALTER, Capability.INSPECT)
def test_an_alter_whose_answer_was_lost_is_repeated_without_a_second_effect(
    put: Producer, faulty: FaultyBackend, backend: Backend, clock: Clock
) -> None:
    put("a")
    faulty.lose_answer("alter")
    result = repeat_until_answered(lambda: faulty.alter(["a"], CancelJobs(), now=clock.now))
    assert result.refused == {"a": "no such job"}
    assert queue_stats(backend, clock).cancelled == 1


def test_calls_that_never_reached_the_store_changed_nothing(
    put: Producer, faulty: FaultyBackend, far_worker: Worker
) -> None:
    put("a")
    faulty.unavailable("reserve")
    with pytest.raises(BackendUnavailableError):
        far_worker.reserve(1, request_no=1)
    assert far_worker.held() == []
    assert [job.attempt for job in far_worker.reserve(1, request_no=1)] == [1]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_doubled_or_charged_while_every_third_call_fails(
    backend: Backend, new_worker: NewWorker, clock: Clock, *, seed: int
) -> None:
    faulty = FaultyBackend(backend, seed=seed)
    worker = new_worker(faulty)
    faulty.fail_by_chance(0.33)
    for start in range(0, 60, 2):
        batch = [new_job(f"{number}") for number in range(start, start + 2)]
        repeat_until_answered(partial(faulty.enqueue, batch, now=clock.now))
    seen: list[str] = []
    for request_no in range(1, 200):
        jobs = repeat_until_answered(partial(worker.reserve, 4, request_no=request_no))
        assert all((job.attempt, job.lease_no) == (1, 1) for job in jobs)
        seen += [job.id for job in jobs]
        acks = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
        answer = repeat_until_answered(partial(worker.report, *acks, request_no=request_no))
        assert answer == [Applied.APPLIED] * len(acks)
        if not jobs:
            break
    faulty.heal()
    assert min(faulty.hits[method] for method in ("enqueue", "reserve", "report")) > 0
    assert seen == [f"{number}" for number in range(60)]
    assert (queue_stats(backend, clock).done, exact(backend, clock).running) == (60, 0)
