"""Handlers for the tests of the supervisor: each writes a line when it starts and one when it ends."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

from wg_core import current_job, job

_LOG = os.open(os.environ["WG_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _write(event: str, **facts: object) -> None:
    os.write(_LOG, _line(event, **facts).encode() + b"\n")  # one write: a SIGKILL leaves whole lines only


def _line(event: str, **facts: object) -> str:
    running = current_job()
    return json.dumps({"event": event, "pid": os.getpid(), "id": running.id, "lease_no": running.lease_no, **facts})


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
    """Sleep in a C call that keeps the GIL; say for how long a neighbouring thread did not move."""
    longest_stand = 0.0
    is_running, is_over = threading.Event(), threading.Event()

    def run_laps() -> None:
        nonlocal longest_stand
        last, is_last = time.monotonic(), False
        is_running.set()
        while not is_last:
            is_last = is_over.wait(0.01)
            now = time.monotonic()
            longest_stand, last = max(longest_stand, now - last), now

    thread = threading.Thread(target=run_laps)
    thread.start()
    is_running.wait()
    _write("started")
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    is_over.set()
    thread.join()
    _write("ended", neighbour_stood_seconds=longest_stand)


@job
def hold_the_gil_until_killed() -> None:
    """Sit in a C call that keeps the GIL. Only from within it comes the line: whoever reads it finds the GIL held."""
    reading, _ = os.pipe()
    os.dup2(reading, 0)  # the shell reads from us, and so ends with us
    started, log = shlex.quote(_line("started")), shlex.quote(os.environ["WG_TEST_LOG"])
    ctypes.PyDLL(None).system(f"printf '%s\\n' {started} >> {log}; read _".encode())
    _write("ended")


@job(max_retries=2)
def kill_the_process() -> None:
    _write("started")
    os.kill(os.getpid(), signal.SIGKILL)
