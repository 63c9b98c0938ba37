"""Handlers for the fault tests: each writes one line when it starts and one when it ends, outside the store."""

from __future__ import annotations

import json
import os
import threading
import time

from wg_core import current_job, job

_LOG = os.open(os.environ["WG_FAULT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write(event: str, **facts: object) -> None:
    """Append one line in one write, so that a SIGKILL leaves whole lines only."""
    line = json.dumps({"at": time.time(), "event": event, "pid": os.getpid(), **facts})
    os.write(_LOG, line.encode() + b"\n")


def _write_of_job(event: str) -> None:
    running = current_job()
    write(event, id=running.id, attempt=running.attempt, lease_no=running.lease_no)


@job
def step(seconds: float = 0.002) -> None:
    """Take a moment, as most jobs do, without burning CPU."""
    _write_of_job("started")
    threading.Event().wait(seconds)
    _write_of_job("ended")


@job(at_most_once=True)
def charge() -> None:
    """Must never start twice."""
    _write_of_job("started")
    threading.Event().wait(0.002)
    _write_of_job("ended")


@job(timeout=None)
def hold(gate: str) -> None:
    """Run until the file `gate` exists."""
    _write_of_job("started")
    while not os.path.exists(gate):  # noqa: PTH110 - called in a tight loop by many threads
        threading.Event().wait(0.02)
    _write_of_job("ended")


@job(timeout=4, max_retries=0)  # not so short that it could be over before the blocking call is reached
def stuck() -> None:
    """Sit in one blocking call that no exception can interrupt."""
    _write_of_job("started")
    threading.Event().wait(600)
    _write_of_job("ended")
