"""Pausing queues."""

from __future__ import annotations

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import Producer, Worker, exact
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend


@requires(Capability.PAUSE)
def test_a_paused_queue_gives_nothing_until_it_is_resumed(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a", queue="mail")
    put("b", queue="other")
    backend.pause("mail")
    assert worker.reserve(queues=["mail"]) == []
    assert worker.reserve_ids(queues=["mail", "other"]) == ["b"]
    assert worker.reserve() == []
    backend.resume("mail")
    assert worker.reserve_ids() == ["a"]


@requires(Capability.PAUSE)
def test_a_paused_queue_still_takes_jobs_and_outcomes(put: Producer, worker: Worker, backend: Backend) -> None:
    put("running", "waiting")
    job = worker.take("running")
    backend.pause("default")
    put("new")
    worker.ack(job)
    backend.resume("default")
    assert worker.reserve_ids() == ["waiting", "new"]


@requires(Capability.PAUSE)
def test_a_queue_can_be_paused_before_it_exists(put: Producer, worker: Worker, backend: Backend) -> None:
    backend.pause("future")
    put("a", queue="future")
    assert worker.reserve() == []
    assert worker.reserve(queues=["future"]) == []


@requires(Capability.PAUSE, Capability.DELAY)
def test_due_jobs_of_a_paused_queue_become_ready_and_wait(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", delay_seconds=1.0)
    backend.pause("default")
    clock.advance(1.0)
    assert backend.promote(10, now=clock.now).moved == 1
    assert worker.reserve() == []
    backend.resume("default")
    worker.take("a")


@requires(Capability.PAUSE)
def test_pausing_and_resuming_twice_are_no_errors(put: Producer, worker: Worker, backend: Backend) -> None:
    backend.resume("never paused")
    backend.pause("default")
    backend.pause("default")
    backend.resume("default")
    backend.resume("default")
    put("a")
    worker.take("a")


@requires(Capability.PAUSE)
def test_a_pause_holds_for_everybody_who_uses_the_store(
    put: Producer, worker: Worker, open_backend: OpenBackend
) -> None:
    put("a")
    other = open_backend()
    other.pause("default")
    assert worker.reserve() == []
    other.resume("default")
    worker.take("a")


@requires(Capability.PAUSE, Capability.INSPECT)
def test_counts_tell_which_queues_are_paused(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a", queue="mail")
    put("b", queue="other")
    backend.pause("mail")
    queues = exact(backend, clock).queues
    assert (queues["mail"].paused, queues["other"].paused) == (True, False)
    assert queues["mail"].ready == 1
