"""The retirer: a death is forgotten only when the store has answered."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.unit.worker.support import eventually
from wg_core._retirer import Death, Retirer
from wg_core._store_watch import StoreWatch
from wg_core.job import JobState, NewJob
from wg_core.memory import MemoryBackend
from wg_core.protocol import Rescued, WorkerBeat
from wg_core.testing.faults import FaultyBackend


@pytest.fixture
def faulty() -> Iterator[FaultyBackend]:
    with FaultyBackend(MemoryBackend.open(f"memory:{uuid.uuid4().hex}", "wg")) as backend:
        yield backend


class Heard:
    """What the retirer told, and a way to wait for it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Death, list[Rescued]]] = []
        self.event = threading.Event()

    def __call__(self, death: Death, rescued: list[Rescued]) -> None:
        self.calls.append((death, rescued))
        self.event.set()


def die_at_work(backend: FaultyBackend, worker: str) -> Death:
    """Let a worker reserve one job and die while its handler runs."""
    backend.beat([WorkerBeat(worker=worker, lease_seconds=3_600, first=True)])
    backend.enqueue([NewJob(id=f"job-of-{worker}", name="step", body=b"{}")])
    (job,) = backend.reserve(None, 1, worker, request_no=1)
    return Death(worker, 123, ((job.id, job.lease_no),), "process 123 was ended by signal 9")


def test_a_dead_workers_job_goes_back_at_once_and_is_charged(faulty: FaultyBackend) -> None:
    heard = Heard()
    retirer = Retirer(faulty, StoreWatch(), heard)
    death = die_at_work(faulty, "w1")
    retirer.start()
    retirer.add(death)
    assert heard.event.wait(30)
    retirer.finish(30)
    ((told, (rescued,)),) = heard.calls
    assert (told, rescued.state, rescued.charged) == (death, JobState.READY, True)
    (record,) = faulty.get([rescued.id])
    assert "ended by signal 9" in (record.history[-1].error_message or "")


def test_a_death_is_remembered_while_the_store_is_away(faulty: FaultyBackend) -> None:
    heard = Heard()
    retirer = Retirer(faulty, StoreWatch(), heard)
    retirer.add(die_at_work(faulty, "w1"))
    faulty.unavailable("retire", times=2)
    faulty.lose_answer("retire")
    for _ in range(3):
        assert retirer.run_once() > 0.0
        assert retirer.unsettled == 1
    retirer.run_once()
    assert faulty.hits["retire"] == 3
    assert retirer.unsettled == 0
    assert faulty.get(["job-of-w1"])[0].state is JobState.READY


def test_one_death_that_the_store_refuses_holds_up_no_other(faulty: FaultyBackend) -> None:
    retirer = Retirer(faulty, StoreWatch(), Heard())
    retirer.add(die_at_work(faulty, "w1"))
    retirer.add(die_at_work(faulty, "w2"))
    faulty.unavailable("retire")
    retirer.run_once()
    faulty.unavailable("retire", skip=1)
    retirer.run_once()
    assert faulty.get(["job-of-w2"])[0].state is JobState.READY
    assert retirer.unsettled == 1


def test_deaths_that_come_while_it_finishes_are_settled_too(faulty: FaultyBackend) -> None:
    retirer = Retirer(faulty, StoreWatch(), Heard())
    retirer.start()
    for number in range(20):
        retirer.add(die_at_work(faulty, f"w{number}"))
    retirer.finish(30)
    assert retirer.unsettled == 0


def test_finishing_is_bounded_when_the_store_stays_away(faulty: FaultyBackend) -> None:
    retirer = Retirer(faulty, StoreWatch(), Heard())
    retirer.add(die_at_work(faulty, "w1"))
    faulty.unavailable("retire", times=None)
    retirer.start()
    eventually(lambda: faulty.hits["retire"])
    retirer.finish(0.2)
    assert retirer.unsettled == 1
    assert retirer.join(30)
