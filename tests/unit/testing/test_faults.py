from __future__ import annotations

import inspect
import threading
import uuid
from collections.abc import Iterator

import pytest

from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_core.job import JobState, NewJob
from wg_core.memory import MemoryBackend
from wg_core.protocol import JobFilter
from wg_core.testing.faults import Fault, FaultyBackend, Rule

NOT_FORWARDED = {"open", "forget_connections"}


def new_job(job_id: str) -> NewJob:
    return NewJob(id=job_id, name="work", body=b"{}")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with MemoryBackend.open("memory:", f"t{uuid.uuid4().hex[:12]}") as backend:
        yield backend


@pytest.fixture
def faulty(backend: Backend) -> FaultyBackend:
    return FaultyBackend(backend)


def test_without_rules_every_call_goes_through_and_is_counted(faulty: FaultyBackend, backend: Backend) -> None:
    faulty.enqueue([new_job("a")])
    assert [record.id for record in faulty.get(["a"])] == ["a"]
    assert [record.id for record in backend.get(["a"])] == ["a"]
    assert (faulty.calls["enqueue"], faulty.calls["get"], faulty.hits.total()) == (1, 1, 0)


def test_every_method_of_the_contract_is_passed_on(faulty: FaultyBackend) -> None:
    methods = {name for name, _ in inspect.getmembers(Backend, inspect.isfunction) if not name.startswith("_")}
    own = {name for name in vars(FaultyBackend) if callable(getattr(FaultyBackend, name))}
    assert methods - NOT_FORWARDED <= own


def test_it_can_do_what_the_inner_backend_can(faulty: FaultyBackend, backend: Backend) -> None:
    assert faulty.capabilities == backend.capabilities
    assert faulty.max_batch == backend.max_batch


def test_unavailable_means_nothing_happened(faulty: FaultyBackend, backend: Backend) -> None:
    faulty.unavailable("enqueue")
    with pytest.raises(BackendUnavailableError):
        faulty.enqueue([new_job("a")])
    assert backend.get(["a"]) == []
    faulty.enqueue([new_job("a")])
    assert faulty.hits == {"enqueue": 1}


def test_a_lost_answer_means_it_happened(faulty: FaultyBackend, backend: Backend) -> None:
    faulty.lose_answer("enqueue")
    with pytest.raises(AmbiguousResultError):
        faulty.enqueue([new_job("a")])
    assert [record.id for record in backend.get(["a"])] == ["a"]


def test_rules_skip_and_repeat_as_told_and_strike_only_their_method(faulty: FaultyBackend) -> None:
    faulty.unavailable("promote", skip=1, times=2)
    outcomes = []
    for _ in range(5):
        faulty.get(["a"])
        try:
            faulty.promote(1)
            outcomes.append("fine")
        except BackendUnavailableError:
            outcomes.append("failed")
    assert outcomes == ["fine", "failed", "failed", "fine", "fine"]


def test_a_rule_without_times_strikes_until_it_is_healed(backend: Backend) -> None:
    faulty = FaultyBackend(backend, Rule(method="promote", fault=Fault.UNAVAILABLE, times=None))
    for _ in range(5):
        with pytest.raises(BackendUnavailableError):
            faulty.promote(1)
    faulty.heal()
    assert faulty.promote(1).moved == 0


def test_a_held_call_is_performed_when_the_event_is_set(faulty: FaultyBackend, backend: Backend) -> None:
    gate = threading.Event()
    faulty.hold("enqueue", until=gate)
    thread = threading.Thread(target=faulty.enqueue, args=([new_job("a")],))
    thread.start()
    while not faulty.hits["enqueue"]:
        threading.Event().wait(0.001)
    assert backend.get(["a"]) == []
    gate.set()
    thread.join(10)
    assert [record.id for record in backend.get(["a"])] == ["a"]


def test_chance_repeats_itself_with_the_same_seed(backend: Backend) -> None:
    def walk() -> list[str]:
        faulty = FaultyBackend(backend, seed=7)
        faulty.fail_by_chance(0.5)
        seen = []
        for _ in range(50):
            try:
                faulty.promote(1)
                seen.append("fine")
            except (AmbiguousResultError, BackendUnavailableError) as error:
                seen.append(type(error).__name__)
        return seen

    first = walk()
    assert set(first) == {"fine", "AmbiguousResultError", "BackendUnavailableError"}
    assert walk() == first


def test_it_opens_a_backend_by_url_and_closes_it() -> None:
    with FaultyBackend.open("memory:", f"t{uuid.uuid4().hex[:12]}") as faulty:
        faulty.find(JobFilter(state=JobState.READY))
    with pytest.raises(BackendUnavailableError):
        faulty.promote(1)
