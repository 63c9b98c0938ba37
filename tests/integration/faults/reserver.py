"""A process of reserving threads, each with a connection of its own: `python reserver.py URL NAMESPACE NAME THREADS`.

It says `ready` when every thread is connected and registered, waits for a line, and prints as JSON what each thread
reserved (and finished), and the errors.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from wg_core.backend import Backend
from wg_core.outcome import Ack, Applied
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend

BATCH = 3


def main(url: str, namespace: str, name: str, threads: int) -> None:
    backends = {f"{name}-{number}": open_backend(url, namespace=namespace) for number in range(threads)}
    for worker, backend in backends.items():
        backend.beat([WorkerBeat(worker=worker, lease_seconds=300.0, first=True)])
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        runs = [pool.submit(work, worker, backend) for worker, backend in backends.items()]
    print(json.dumps({"reserved": [job for run in runs for job in run.result()]}), flush=True)
    sys.stdin.readline()  # keeps the connections until they are counted


def work(worker: str, backend: Backend) -> list[tuple[str, int]]:
    """Reserve and finish until nothing is left; any error ends the process."""
    reserved: list[tuple[str, int]] = []
    request_no = 0
    while True:
        request_no += 1
        jobs = backend.reserve(None, BATCH, worker, request_no=request_no)
        if not jobs:
            return reserved
        reserved += [(job.id, job.lease_no) for job in jobs]
        outcomes = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
        answers = backend.report(worker, outcomes, request_no=request_no)
        assert answers == [Applied.APPLIED] * len(jobs), "somebody else held a job of ours"


if __name__ == "__main__":
    _, url, namespace, name, threads = sys.argv
    main(url, namespace, name, int(threads))
