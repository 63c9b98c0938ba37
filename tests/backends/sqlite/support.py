"""Producers, workers and children for the SQLite tests."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.protocol import WorkerBeat

CHILD = Path(__file__).with_name("child.py")
PATIENCE_SECONDS = 60.0
"""How long a test waits for another process before it gives up; never a measure of speed."""

OpenSQLite = Callable[..., Backend]


def new_job(job_id: str, **fields: object) -> NewJob:
    values: dict[str, object] = {"id": job_id, "name": "job", "body": b'{"v":1}', **fields}
    return NewJob(**values)  # type: ignore[arg-type]


def register(backend: Backend, worker: str = "w1") -> None:
    backend.beat([WorkerBeat(worker=worker, lease_seconds=600.0, first=True)])


def start_child(role: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), role, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(child: subprocess.Popen[str]) -> str:
    """Wait for a child that ends by itself, and return what it wrote."""
    output, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0
    return output


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        never.wait(0.01)


def ids_of(records: Sequence[object]) -> list[str]:
    return [record.id for record in records]  # type: ignore[attr-defined]
