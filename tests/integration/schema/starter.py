"""A process with several backends, each of which is used for the first time at a signal.

Reads three words a line: URL, namespace, how many. Answers `here` once the backends wait, and `done` or the errors
when all of them have stored a job and worked on one, after a line `go`.
"""

from __future__ import annotations

import sys
import threading

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend


def say(line: str) -> None:
    print(line, flush=True)


def start(backend: Backend, name: str) -> None:
    backend.enqueue([NewJob(id=name, name="job", body=b"{}")])
    backend.beat([WorkerBeat(worker=name, lease_seconds=600.0, first=True)])
    for job in backend.reserve(None, 1, name, request_no=1):
        backend.report(name, [Ack(id=job.id, lease_no=job.lease_no)], request_no=1)


def start_all(prefix: str, url: str, namespace: str, count: int) -> None:
    backends = [open_backend(url, namespace=namespace) for _ in range(count)]
    signal, errors = threading.Event(), []

    def run(number: int) -> None:
        signal.wait()
        try:
            start(backends[number], f"{prefix}-{number}")
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    say("here")
    sys.stdin.readline()
    signal.set()
    for thread in threads:
        thread.join()
    for backend in backends:
        backend.close()
    say(" ".join(" ".join(errors).split()) or "done")


if __name__ == "__main__":
    for line in sys.stdin:
        start_all(sys.argv[1], *line.split()[:2], int(line.split()[2]))
