"""A process of reserving threads, each with a connection of its own: `python reserver.py URL NAMESPACE NAME THREADS`.

It says `ready` when every thread is connected and registered, waits for a line, says `begun` when every thread has
reserved once, waits for a line, and prints as JSON what each thread reserved (and finished), and the errors.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
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
    begun = threading.Barrier(threads + 1)
    go_on = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        runs = [pool.submit(work, worker, backend, begun, go_on) for worker, backend in backends.items()]
        with contextlib.suppress(threading.BrokenBarrierError):  # a thread that failed says so below
            begun.wait()
        print("begun", flush=True)
        sys.stdin.readline()
        go_on.set()
    print(json.dumps({"reserved": [job for run in runs for job in run.result()]}), flush=True)
    sys.stdin.readline()  # keeps the connections until they are counted


def work(worker: str, backend: Backend, begun: threading.Barrier, go_on: threading.Event) -> list[tuple[str, int]]:
    """Reserve and finish until nothing is left, after the first time when all others have; errors end the process."""
    reserved: list[tuple[str, int]] = []
    request_no = 0
    while True:
        request_no += 1
        try:
            jobs = backend.reserve(None, BATCH, worker, request_no=request_no)
        except BaseException:
            begun.abort()
            raise
        if request_no == 1:
            with contextlib.suppress(threading.BrokenBarrierError):
                begun.wait()
            go_on.wait()
        if not jobs:
            return reserved
        reserved += [(job.id, job.lease_no) for job in jobs]
        outcomes = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
        answers = backend.report(worker, outcomes, request_no=request_no)
        assert answers == [Applied.APPLIED] * len(jobs), "somebody else held a job of ours"


if __name__ == "__main__":
    _, url, namespace, name, threads = sys.argv
    main(url, namespace, name, int(threads))
