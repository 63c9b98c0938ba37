"""The fixtures of the suite. An author supplies `backend_url` and may override those that say so."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.registry import open_backend as open_by_url
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Reaper, Worker
from wg_core.testing.faults import FaultyBackend

OpenBackend = Callable[[], Backend]
InEachState = list[str]
Residue = Callable[[], Mapping[str, int]]


@pytest.fixture
def backend_options() -> dict[str, Any]:
    """Keywords for `open_backend`; override to test with some."""
    return {}


@pytest.fixture
def namespace() -> str:
    """A namespace of its own for each test."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def open_backend(backend_url: str, backend_options: dict[str, Any], namespace: str) -> Iterator[OpenBackend]:
    """Open further instances on the same store and namespace; all are closed at the end."""
    opened: list[Backend] = []

    def open_another() -> Backend:
        backend = open_by_url(backend_url, namespace=namespace, **backend_options)
        opened.append(backend)  # threads may be opening others at the same moment
        return backend

    yield open_another
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_backend: OpenBackend) -> Backend:
    """The backend under test."""
    return open_backend()


@pytest.fixture
def clock() -> Clock:
    """The time of the test."""
    return Clock()


@pytest.fixture
def put(backend: Backend, clock: Clock) -> Producer:
    """Enqueue jobs by id: `put("a", "b", priority=5)`."""
    return Producer(backend, clock)


@pytest.fixture
def new_worker(backend: Backend, clock: Clock) -> NewWorker:
    """Register another worker with its first beat: `new_worker()`."""
    return NewWorker(backend, clock)


@pytest.fixture
def worker(new_worker: NewWorker) -> Worker:
    """A registered worker."""
    return new_worker()


@pytest.fixture
def reaper(backend: Backend, clock: Clock) -> Reaper:
    """Kills workers."""
    return Reaper(backend, clock)


@pytest.fixture
def in_each_state(backend: Backend, put: Producer, worker: Worker) -> InEachState:
    """One job in each state, with the name of the state as its id."""
    if Capability.DELAY not in backend.capabilities:
        return []
    put("running", "retry", "dead", priority=50)
    _, retry, dead = worker.reserve()
    worker.retry(retry, delay_seconds=60.0)
    worker.bury(dead)
    put("ready")
    put("scheduled", delay_seconds=60.0)
    return ["scheduled", "ready", "running", "retry", "dead"]


@pytest.fixture
def faulty(backend: Backend) -> FaultyBackend:
    """The backend under test behind a network that can be cut."""
    return FaultyBackend(backend)


@pytest.fixture
def far_worker(faulty: FaultyBackend, new_worker: NewWorker) -> Worker:
    """A worker behind that network."""
    return new_worker(faulty)


@pytest.fixture
def residue() -> Residue:
    """Count what the store keeps, by kind (rows per table, keys, elements); override per backend."""
    return dict
