"""Backends that come and go leave no descriptor open: a web process opens and closes them for as long as it lives."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.redis.support import eventually
from wg_core.backend import Backend
from wg_core.errors import BackendUnavailableError
from wg_core.job import NewJob
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend


@pytest.fixture(params=["redis", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite:{tmp_path / 'jobs.db'}"


def descriptors() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def use(backend: Backend, turn: int) -> None:
    """Open every connection that the backend can have."""
    backend.enqueue([NewJob(id=f"{turn}", name="work", body=b"{}")])
    backend.beat([WorkerBeat(worker=f"w{turn}", lease_seconds=30.0, first=True)])
    backend.reserve(None, 1, f"w{turn}", request_no=1)
    backend.wait(["nothing"], 0.001)
    backend.stats()


def close_used(backend: Backend) -> None:
    backend.close()


def close_while_somebody_waits(backend: Backend) -> None:
    waits = threading.Event()

    def wait() -> None:
        waits.set()
        with contextlib.suppress(BackendUnavailableError):  # closed before it began
            backend.wait(["nothing"], 60.0)

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    backend.close()
    thread.join()


@pytest.mark.parametrize("close", [close_used, close_while_somebody_waits])
def test_opening_and_closing_again_and_again_leaves_no_descriptor(url: str, close: Callable[[Backend], None]) -> None:
    def cycle(turn: int) -> None:
        backend = open_backend(url, namespace="cycle")
        use(backend, turn)
        close(backend)

    cycle(0)
    before = descriptors()
    for turn in range(1, 20):
        cycle(turn)
    eventually(lambda: descriptors() <= before)


def test_threads_that_come_and_go_leave_no_descriptor(url: str) -> None:
    with open_backend(url, namespace="threads") as backend:
        use(backend, 0)
        before = descriptors()
        for turn in range(1, 20):
            thread = threading.Thread(target=use, args=(backend, turn))
            thread.start()
            thread.join()
        eventually(lambda: descriptors() <= before)  # others in this process may just be letting go of theirs
