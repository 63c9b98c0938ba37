"""What the child processes of the SQLite tests do: `python child.py ROLE URL …`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_sqlite import SQLiteBackend


def say(line: str) -> None:
    print(line, flush=True)


def first_start(backend: Backend, name: str) -> None:
    """Wait for the signal, then be among the first to use the file."""
    say("here")
    sys.stdin.readline()
    backend.enqueue([NewJob(id=name, name="job", body=b"")])


def produce(backend: Backend, prefix: str) -> None:
    """Enqueue for ever, and say every id whose enqueue was answered."""
    number = 0
    while True:
        ids = [f"{prefix}-{number + extra}" for extra in range(1 + number % 7)]
        backend.enqueue([NewJob(id=job_id, name="job", body=b"x" * 200) for job_id in ids])
        say(" ".join(ids))
        number += len(ids)


def work(backend: Backend, worker: str) -> None:
    """Reserve and acknowledge until nothing is left, and say what was run."""
    backend.beat([WorkerBeat(worker=worker, lease_seconds=600.0, first=True)])
    request_no = 0
    while True:
        request_no += 1
        jobs = backend.reserve(None, 7, worker, request_no=request_no)
        if not jobs:
            return
        backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=request_no)
        say(" ".join(job.id for job in jobs))


def consume(backend: Backend, worker: str) -> None:
    """Work for ever, waiting in between; say every id when its report was answered."""
    backend.beat([WorkerBeat(worker=worker, lease_seconds=600.0, first=True)])
    request_no = 0
    while True:
        request_no += 1
        jobs = backend.reserve(None, 7, worker, request_no=request_no)
        if not jobs:
            backend.wait(None, 1.0)
            continue
        backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=request_no)
        say(" ".join(job.id for job in jobs))


def await_job(backend: Backend, seconds: str) -> None:
    """Wait for a job of another process, and say whether one is ready."""
    backend.stats()
    say("waiting")
    backend.wait(["default"], float(seconds))
    say(str(backend.stats().ready))


ROLES: dict[str, Callable[[Backend, str], None]] = {
    "first_start": first_start,
    "produce": produce,
    "work": work,
    "consume": consume,
    "await_job": await_job,
}

if __name__ == "__main__":
    role, url, argument = sys.argv[1:]
    with SQLiteBackend.open(url, "wg") as opened:
        ROLES[role](opened, argument)
