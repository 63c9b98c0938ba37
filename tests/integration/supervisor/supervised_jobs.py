"""Handlers for the tests of the supervisor: each writes a line when it starts and one when it ends."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
from pathlib import Path

from wg_core import current_job, job

_LOG = os.open(os.environ["WG_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _write(event: str, **facts: object) -> None:
    running = current_job()
    line = {"event": event, "pid": os.getpid(), "id": running.id, "lease_no": running.lease_no, **facts}
    os.write(_LOG, json.dumps(line).encode() + b"\n")  # one write: a SIGKILL leaves whole lines only


@job(timeout=None)
def step() -> None:
    _write("started")
    _write("ended")


@job(timeout=None)
def hold(gate: str) -> None:
    """Run until the file `gate` exists."""
    _write("started")
    while not Path(gate).exists():
        threading.Event().wait(0.02)
    _write("ended")


@job
def hold_the_gil(seconds: float) -> None:
    """Sleep in a C call that keeps the GIL; say how far a neighbouring thread came meanwhile."""
    laps = 0
    is_over = False

    def run_laps() -> None:
        nonlocal laps
        while not is_over:
            laps += 1
            threading.Event().wait(0.01)

    thread = threading.Thread(target=run_laps)
    thread.start()
    _write("started")
    begin, before = time.monotonic(), laps
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    held, moved = time.monotonic() - begin, laps - before
    is_over = True
    thread.join()
    _write("ended", held_seconds=held, neighbour_laps=moved)


@job(timeout=1, max_retries=0)
def hold_the_gil_past_the_timeout(seconds: float) -> None:
    _write("started")
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    _write("ended")


@job(max_retries=2)
def kill_the_process() -> None:
    _write("started")
    os.kill(os.getpid(), signal.SIGKILL)
