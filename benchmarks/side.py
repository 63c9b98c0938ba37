"""wg's side of every comparison: one backend, filled and emptied without a worker runtime."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

from benchmarks.measure import rate
from benchmarks.raw import sample_body
from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend

BATCH = 100
BULK = 1_000
_numbers = itertools.count()


class Side:
    """One namespace of a store, used through the contract by one thread."""

    def __init__(self, url: str, namespace: str) -> None:
        self.backend: Backend = open_backend(url, namespace=namespace)
        self.backend.migrate()
        self.body = sample_body()

    def close(self) -> None:
        """Close the backend."""
        self.backend.close()

    def fill(self, count: int) -> None:
        """Enqueue so many jobs, a thousand a call."""
        for first in range(0, count, BULK):
            self.backend.enqueue([self._job() for _ in range(min(BULK, count - first))])

    def cycle(self, count: int, batch: int = BATCH) -> list[str]:
        """Reserve and report so many jobs, or as many as there are, as a worker of its own; return their ids."""
        worker = f"bench-{os.getpid()}-{next(_numbers)}"
        self.backend.beat([WorkerBeat(worker=worker, lease_seconds=3600, first=True)])
        done: list[str] = []
        for number in itertools.count(1):
            jobs = self.backend.reserve(["default"], batch, worker, request_no=number) if len(done) < count else []
            if not jobs:
                break
            self.backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=number)
            done += (job.id for job in jobs)
        self.backend.retire(worker, [], "benchmark over")
        return done

    def empty(self) -> None:
        """Reserve and report all there is."""
        self.cycle(2**62, 500)

    def rate_of_single(self, count: int) -> float:
        """Return the rate of enqueue with one job a call."""
        return rate(count, lambda: repeat(lambda: self.backend.enqueue([self._job()]), count))

    def rate_of_bulk(self, count: int) -> float:
        """Return the rate of enqueue with a thousand jobs a call."""
        return rate(count, lambda: self.fill(count))

    def rate_of_cycles(self, count: int, batch: int = BATCH) -> float:
        """Return the rate of reserve and report, after as many jobs came in as now go."""
        self.fill(count)
        return rate(count, lambda: self.cycle(count, batch))

    def _job(self) -> NewJob:
        number = next(_numbers)  # made by us, as the client makes ids, so the store may trust that they are new
        return NewJob(id=f"bench-{os.getpid()}-{number:012d}", name="nothing", body=self.body, id_is_new=True)


def repeat(call: Callable[[], object], times: int) -> None:
    """Call it so many times."""
    for _ in range(times):
        call()
