"""A memory store that can be made to fail, and pools on it that end with the test."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store
from wg_core import JobFunction
from wg_core.backend import Backend
from wg_core.registry import open_backend
from wg_core.testing.faults import FaultyBackend
from wg_core.worker import WorkerPool


@pytest.fixture
def namespace() -> str:
    return f"t_{uuid.uuid4().hex[:16]}"


@pytest.fixture
def backend(namespace: str) -> Iterator[FaultyBackend]:
    with FaultyBackend(open_backend("memory:", namespace=namespace)) as backend:
        yield backend


@pytest.fixture
def store(backend: FaultyBackend) -> Store:
    return Store(backend)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker does not leave its own threads behind, nor a start unfinished, because the machine is slow."""
    monkeypatch.setattr("wg_core._shutdown.JOIN_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("wg_core._shutdown.REPORT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("wg_core.worker.START_PATIENCE_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def make_pool(backend: FaultyBackend) -> Iterator[Callable[..., WorkerPool]]:
    """Make pools that beat fast, and end them after the test with all their threads, also those they gave up."""
    pools: list[WorkerPool] = []
    others = set(threading.enumerate())

    def make(*handlers: JobFunction[..., Any], on: Backend = backend, **settings: Any) -> WorkerPool:
        fast = {"heartbeat": 0.05, "threads": 2, "fetch_timeout": 0.5}
        patient = {"lease": 30.0, "shutdown_timeout": PATIENCE_SECONDS}
        pool = WorkerPool(backend=on, handlers=list(handlers), **{**fast, **patient, **settings})
        pools.append(pool)
        return pool

    yield make
    backend.heal()
    for pool in pools:
        pool.stop(now=True)
    for pool in pools:
        assert pool.join(PATIENCE_SECONDS)
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("wg-"):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
