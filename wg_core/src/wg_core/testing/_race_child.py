"""One process of a race between processes: `python -m wg_core.testing._race_child ORDER`.

It opens the backend, says `ready`, waits for a line on its input, carries out the order and prints the answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend


def enqueue(backend: Backend, order: dict[str, Any]) -> list[str]:
    """Enqueue each id by itself; return those that were stored."""
    results = [backend.enqueue([NewJob(id=job_id, name="work", body=b"{}")])[0] for job_id in order["ids"]]
    return [result.id for result in results if result.stored]


def work(backend: Backend, order: dict[str, Any]) -> list[list[object]]:
    """Reserve and finish until nothing is left; return [id, attempt, lease_no] of each job."""
    worker, request_no, done = order["worker"], 0, []
    backend.beat([WorkerBeat(worker=worker, lease_seconds=300.0, first=True)])
    while jobs := backend.reserve(None, 5, worker, request_no=request_no):
        request_no += 1
        outcomes = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
        answers = backend.report(worker, outcomes, request_no=request_no)
        done += [[job.id, job.attempt, job.lease_no] for job, _ in zip(jobs, answers, strict=True)]
    return done


def work_in_sight(backend: Backend, order: dict[str, Any]) -> None:
    """Reserve and finish for ever, and say the ids of each batch once its report was answered."""
    worker, request_no = order["worker"], 0
    backend.beat([WorkerBeat(worker=worker, lease_seconds=300.0, first=True)])
    while True:
        request_no += 1
        jobs = backend.reserve(None, 3, worker, request_no=request_no)
        backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=request_no)
        _say(json.dumps([job.id for job in jobs]))


def enqueue_and_die(backend: Backend, order: dict[str, Any]) -> None:
    """Enqueue, answer, and be killed at once."""
    _say(json.dumps(enqueue(backend, order)))
    os.kill(os.getpid(), signal.SIGKILL)


def promote(backend: Backend, order: dict[str, Any]) -> int:
    """Promote page by page until nothing is due; return how many moved."""
    moved = 0
    while (page := backend.promote(7, now=order["now"]).moved) > 0:
        moved += page
    return moved


def rescue(backend: Backend, order: dict[str, Any]) -> list[str]:
    """Rescue page by page until nothing is left; return the ids."""
    rescued: list[str] = []
    while page := backend.rescue(7, now=order["now"]):
        rescued += [job.id for job in page]
    return rescued


DEEDS: dict[str, Callable[[Backend, dict[str, Any]], object]] = {
    "enqueue": enqueue,
    "enqueue_and_die": enqueue_and_die,
    "work": work,
    "work_in_sight": work_in_sight,
    "promote": promote,
    "rescue": rescue,
}


def main() -> None:
    """Carry out the order of the command line."""
    order = json.loads(sys.argv[1])
    with open_backend(order["url"], namespace=order["namespace"], **order["options"]) as backend:
        _say("ready")
        sys.stdin.readline()
        _say(json.dumps(DEEDS[order["deed"]](backend, order)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
