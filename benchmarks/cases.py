"""What is measured on every store: the hot path of the backend, then whole workers."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Figure, compare, rate
from benchmarks.raw import RawStore, open_raw, sample_body
from wg_core import Client, WorkerPool, job
from wg_core.backend import Backend
from wg_core.handlers import HandlerRegistry
from wg_core.job import NewJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend

BATCH = 100
BULK = 1_000
_ids = itertools.count()


@job(registry=HandlerRegistry())
def nothing(text: str = "") -> None:
    """The no-op handler of every drain."""


class Bench:
    """One store, measured raw and through wg in the same run."""

    def __init__(self, store: str, url: str, folder: Path, jobs: int) -> None:
        self.store = store
        self.url = url
        self.jobs = jobs
        self.raw: RawStore = open_raw(store, folder, url)
        self.backend: Backend = open_backend(url, namespace="bench")
        self.backend.migrate()
        self.body = sample_body()
        self._request_no = itertools.count(1)

    def close(self) -> None:
        """Close both sides."""
        self.raw.close()
        self.backend.close()

    def figures(self) -> list[Figure]:
        """Measure everything, cheapest first."""
        return [
            self.single_enqueue(),
            self.bulk_enqueue(),
            self.reserve_and_report("reserve + report, batch 100"),
            self.client_enqueue(),
            self.drain(),
            self.pick_up(),
        ]

    def figures_with_backlog(self, backlog: int) -> list[Figure]:
        """Measure the claim again with many jobs waiting, against the claim without."""
        self._fill(backlog)
        return [self.reserve_and_report(f"the same, {backlog:,} waiting", keep_backlog=True)]

    # ---------------------------------------------------------------- the backend alone

    def single_enqueue(self) -> Figure:
        """One job a call, against one raw write."""
        count = max(200, self.jobs // 20)
        figure = compare(
            self.store,
            "enqueue, one a call",
            wg=lambda: rate(count, lambda: [self.backend.enqueue([self._job()]) for _ in range(count)]),
            raw=lambda: rate(count, lambda: [self.raw.push_one(self.body) for _ in range(count)]),
            goal="≥ 0.80",
        )
        self._empty()
        return figure

    def client_enqueue(self) -> Figure:
        """One call of the typed function, against one raw write."""
        count = max(200, self.jobs // 20)
        with Client.connect(self.url, namespace="bench") as client:
            figure = compare(
                self.store,
                "client.enqueue(function)",
                wg=lambda: rate(count, lambda: [client.enqueue(nothing.job("x" * 150)) for _ in range(count)]),
                raw=lambda: rate(count, lambda: [self.raw.push_one(self.body) for _ in range(count)]),
                goal="",
            )
        self._empty()
        return figure

    def bulk_enqueue(self) -> Figure:
        """A thousand jobs a call, against the raw bulk write."""
        calls = max(1, self.jobs // BULK)
        figure = compare(
            self.store,
            "enqueue, 1,000 a call",
            wg=lambda: rate(calls * BULK, lambda: [self._fill(BULK) for _ in range(calls)]),
            raw=lambda: rate(calls * BULK, lambda: [self.raw.push_many([self.body] * BULK) for _ in range(calls)]),
            goal="≥ 0.60",
        )
        self._empty()
        return figure

    def reserve_and_report(self, what: str, *, keep_backlog: bool = False) -> Figure:
        """Batches of a hundred, claimed and finished, against the same two raw steps."""

        def wg() -> float:
            self._fill(self.jobs)
            return rate(self.jobs, lambda: self._cycle(self.jobs))

        def raw() -> float:
            for _ in range(self.jobs // BULK):
                self.raw.push_many([self.body] * BULK)
            return rate(self.jobs, lambda: _repeat(lambda: self.raw.cycle(BATCH), self.jobs // BATCH))

        figure = compare(self.store, what, wg=wg, raw=raw, goal="≥ 0.50", rounds=3)
        if not keep_backlog:
            self._empty()
        return figure

    # ---------------------------------------------------------------- whole workers

    def drain(self) -> Figure:
        """One worker process with four threads and a no-op handler, against the raw claim and finish."""

        def wg() -> float:
            Client(self.backend).enqueue_many(nothing.job("x" * 150) for _ in range(self.jobs))
            pool = WorkerPool(backend=self.backend, handlers=[nothing], threads=4, batch_size=500)
            return rate(self.jobs, lambda: pool.run_until_idle(timeout=300))

        def raw() -> float:
            for _ in range(self.jobs // BULK):
                self.raw.push_many([self.body] * BULK)
            return rate(self.jobs, lambda: _repeat(lambda: self.raw.cycle(BATCH), self.jobs // BATCH))

        return compare(self.store, "worker: reserve + run + ack", wg=wg, raw=raw, goal="≥ 0.50", rounds=3)

    def pick_up(self) -> Figure:
        """Time from enqueue to the handler on an idle worker, in raw round trips of the store."""
        began = threading.Event()

        @job(registry=HandlerRegistry())
        def noticed() -> None:
            began.set()

        waits = []
        with WorkerPool(url=self.url, namespace="bench", handlers=[noticed], threads=2):
            client = Client(self.backend)
            for _ in range(50):
                began.clear()
                threading.Event().wait(0.02)  # let the worker fall idle again
                begin = time.perf_counter()
                client.enqueue(noticed.job())
                if not began.wait(10):
                    raise RuntimeError("the idle worker did not start a job within 10 s")
                waits.append(time.perf_counter() - begin)
        trip = 1 / rate(500, lambda: _repeat(self.raw.round_trip, 500))
        return Figure(
            store=self.store,
            what="idle pick-up, median",
            unit="ms",
            wg=statistics.median(waits) * 1e3,
            raw=trip * 1e3,
            goal="≤ 20 ms, or ≤ 3 round trips",
        )

    # ---------------------------------------------------------------- helpers

    def _job(self) -> NewJob:
        return NewJob(id=f"bench-{next(_ids):012d}", name="nothing", body=self.body)

    def _fill(self, count: int) -> None:
        for first in range(0, count, BULK):
            self.backend.enqueue([self._job() for _ in range(min(BULK, count - first))])

    def _cycle(self, count: int) -> None:
        worker = f"bench-{next(_ids)}"
        self.backend.beat([WorkerBeat(worker=worker, lease_seconds=3600, first=True)])
        done = 0
        while done < count:
            number = next(self._request_no)
            jobs = self.backend.reserve(["default"], BATCH, worker, request_no=number)
            if not jobs:
                break
            self.backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=number)
            done += len(jobs)
        self.backend.retire(worker, [], "benchmark over")

    def _empty(self) -> None:
        self._cycle(2**62)
        while self.raw.cycle(BATCH):
            pass


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()
