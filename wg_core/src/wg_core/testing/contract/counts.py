"""Numbers. Invariant 13: counts equal reality."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState, ReservedJob
from wg_core.outcome import Cancel
from wg_core.protocol import COUNT_CAP, CancelJobs, Capability, QueueStats, Stats, StatsLevel
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    exact,
    found_ids,
    new_job,
    queue_stats,
)
from wg_core.testing.contract._capabilities import requires

LENGTHS = (JobState.READY, JobState.SCHEDULED, JobState.RETRY, JobState.RUNNING, JobState.DEAD)


def lengths(stats: Stats) -> dict[str, int]:
    """Return the lengths over all queues."""
    return {state.value: getattr(stats, state.value) for state in LENGTHS}


@requires(Capability.INSPECT)
@pytest.mark.parametrize("level", StatsLevel)
def test_an_empty_store_counts_nothing(backend: Backend, level: StatsLevel) -> None:
    stats = backend.stats(level)
    assert lengths(stats) == dict.fromkeys(lengths(stats), 0)
    assert stats.workers == 0


@requires(Capability.INSPECT, Capability.DELAY)
@pytest.mark.parametrize("level", StatsLevel)
def test_every_state_is_counted(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, level: StatsLevel
) -> None:
    put(*(f"{number}" for number in range(15)))
    jobs = worker.reserve(10)
    for job in jobs[:4]:
        worker.retry(job, delay_seconds=60.0)
    for job in jobs[4:7]:
        worker.bury(job)
    worker.ack(*jobs[7:8])
    put("later-1", "later-2", "later-3", "later-4", "later-5", "later-6", delay_seconds=60.0)
    stats = backend.stats(level, now=clock.now)
    assert lengths(stats) == {"ready": 5, "scheduled": 6, "retry": 4, "running": 2, "dead": 3}
    assert (stats.workers, stats.capped) == (1, frozenset())
    queue = stats.queues["default"]
    assert (queue.ready, queue.ready_capped, queue.done, queue.failed) == (5, False, 1, 3)


@requires(Capability.INSPECT, Capability.DELAY)
def test_exact_counts_tell_every_state_per_queue(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a1", "a2", "a3", queue="a")
    first, second, _ = worker.reserve()
    worker.retry(first)
    worker.bury(second)
    put("a4", "a5", queue="a")
    put("b1", "b2", queue="b", delay_seconds=60.0)
    queues = exact(backend, clock).queues
    assert queues["a"] == QueueStats(
        ready=2, oldest_ready_seconds=0.0, failed=1, scheduled=0, retry=1, running=1, dead=1
    )
    assert queues["b"] == QueueStats(ready=0, scheduled=2, retry=0, running=0, dead=0)


@requires(Capability.INSPECT)
def test_ends_are_counted_per_queue_for_ever(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    for round_no in range(3):
        put(f"done-{round_no}", f"failed-{round_no}", f"cancelled-{round_no}", queue="mail")
        done, failed, cancelled = worker.reserve()
        worker.ack(done)
        worker.bury(failed)
        worker.applied(Cancel(id=cancelled.id, lease_no=cancelled.lease_no))
    backend.retire(worker.id, [], "stopped", now=clock.now)
    stats = queue_stats(backend, clock, "mail")
    assert (stats.done, stats.failed, stats.cancelled, stats.expired) == (3, 3, 3, 0)


@requires(Capability.INSPECT)
def test_an_outcome_that_was_lost_is_not_counted(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    job = worker.take("a")
    backend.retire(worker.id, [], "killed", now=clock.now)
    worker.report(Cancel(id="a", lease_no=job.lease_no))
    stats = queue_stats(backend, clock)
    assert (stats.done, stats.cancelled, stats.ready) == (0, 0, 1)


@requires(Capability.INSPECT)
@pytest.mark.parametrize("level", StatsLevel)
def test_the_age_of_the_oldest_ready_job_is_told_whatever_its_priority(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, level: StatsLevel
) -> None:
    put("oldest", priority=-5)
    clock.advance(2.5)
    put("young", priority=5)
    clock.advance(1.0)
    assert backend.stats(level, now=clock.now).queues["default"].oldest_ready_seconds == 3.5
    worker.ack(worker.take("young"), worker.take("oldest"))
    assert backend.stats(level, now=clock.now).queues["default"].oldest_ready_seconds is None


@requires(Capability.INSPECT, Capability.DELAY)
def test_a_promoted_job_waits_since_it_became_ready(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a", delay_seconds=60.0)
    clock.advance(60.0)
    backend.promote(10, now=clock.now)
    clock.advance(1.5)
    assert backend.stats(now=clock.now).queues["default"].oldest_ready_seconds == 1.5


@requires(Capability.INSPECT)
def test_workers_are_counted_while_their_lease_lives(new_worker: NewWorker, backend: Backend, clock: Clock) -> None:
    new_worker()
    clock.advance(LEASE_SECONDS / 2)
    new_worker()
    assert exact(backend, clock).workers == 2
    clock.advance(LEASE_SECONDS / 2 + 1.0)
    assert exact(backend, clock).workers == 1


@requires(Capability.INSPECT)
def test_a_long_queue_is_counted_at_least_to_the_cap(put: Producer, backend: Backend, clock: Clock) -> None:
    put.all([new_job(f"{number}") for number in range(COUNT_CAP + 5)])
    cheap = backend.stats(now=clock.now)
    if cheap.queues["default"].ready_capped:
        assert cheap.queues["default"].ready == COUNT_CAP
        assert cheap.ready == COUNT_CAP
        assert cheap.capped == {"ready"}
    else:
        assert (cheap.ready, cheap.queues["default"].ready) == (COUNT_CAP + 5, COUNT_CAP + 5)
    assert (exact(backend, clock).ready, queue_stats(backend, clock).ready) == (COUNT_CAP + 5, COUNT_CAP + 5)
    assert not queue_stats(backend, clock).ready_capped


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_what_can_be_listed_after_any_walk(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock, *, seed: int
) -> None:
    dice = random.Random(seed)
    workers = [new_worker() for _ in range(3)]
    for step in range(60):
        put(f"{step}-now", f"{step}-soon", queue=dice.choice("ab"), priority=dice.randint(-2, 2), max_retries=1)
        put(f"{step}-later", delay_seconds=dice.uniform(0.1, 50.0))
        worker = dice.choice(workers)
        for job in worker.reserve(dice.randint(1, 4)):
            ends: list[Callable[[ReservedJob], None]] = [worker.ack, worker.retry, worker.bury, worker.release]
            dice.choice([*ends, worker.start])(job)
        clock.advance(dice.uniform(0.0, 2.0))
        backend.promote(dice.randint(0, 5), now=clock.now)
        backend.alter([f"{dice.randint(0, step)}-soon"], CancelJobs(), now=clock.now)
        for worker in workers:
            worker.beat()
    backend.retire(workers[0].id, [], "killed", now=clock.now)
    listed = {state.value: len(found_ids(backend, state)) for state in LENGTHS}
    stats = exact(backend, clock)
    assert lengths(stats) == listed
    for state in LENGTHS:
        assert sum(getattr(queue, state.value) or 0 for queue in stats.queues.values()) == listed[state.value]
    ended = sum(queue.done + queue.cancelled for queue in stats.queues.values())
    assert ended + sum(listed.values()) == 60 * 3, "every job ended or is listed"
