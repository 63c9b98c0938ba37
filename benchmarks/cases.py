"""What is measured on every store: the hot path of the backend, then whole workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.latency import pick_up_figures
from benchmarks.measure import Figure, compare, rate
from benchmarks.raw import RawStore, open_raw
from benchmarks.side import BATCH, BULK, Side, repeat
from wg_core import Client, WorkerPool, job
from wg_core.handlers import HandlerRegistry

DRAIN_GOALS = {
    "sqlite": "≥ 40,000/s, ≥ 0.50",
    "redis": "≥ 40,000/s, ≥ 0.50",
    "postgres": "≥ 25,000/s, ≥ 0.50",
    "mariadb": "≥ 6,000/s, ≥ 0.50",
}


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
        self.wg = Side(url, "bench")
        self._few = max(200, jobs // 20)
        """Calls of one job a round: each waits for the store."""

    def close(self) -> None:
        """Close both sides."""
        self.raw.close()
        self.wg.close()

    def figures(self) -> Iterator[Figure]:
        """Measure everything, cheapest first; yields each figure as it is taken."""
        for case in (
            self.single_enqueue,
            self.bulk_enqueue,
            lambda: self.reserve_and_report(BATCH),
            lambda: self.reserve_and_report(500),
            self.client_enqueue,
            self.drain,
        ):
            self.raw.tidy()
            yield case()
        yield from self.pick_up()

    # ---------------------------------------------------------------- the backend alone

    def single_enqueue(self) -> Figure:
        """One job a call, against one raw write."""
        figure = compare(
            self.store,
            "enqueue, one a call",
            wg=lambda: self.wg.rate_of_single(self._few),
            raw=self._raw_single,
            goal="≥ 0.80",
        )
        self._empty()
        return figure

    def client_enqueue(self) -> Figure:
        """One call of the typed function, against one raw write."""
        count = self._few
        with Client.connect(self.url, namespace="bench") as client:
            figure = compare(
                self.store,
                "client.enqueue(function)",
                wg=lambda: rate(count, lambda: repeat(lambda: client.enqueue(nothing.job("x" * 150)), count)),
                raw=self._raw_single,
                goal="",
            )
        self._empty()
        return figure

    def bulk_enqueue(self) -> Figure:
        """A thousand jobs a call, against the raw bulk write."""
        figure = compare(
            self.store,
            "enqueue, 1,000 a call",
            wg=lambda: self.wg.rate_of_bulk(self.jobs),
            raw=lambda: rate(self.jobs, self._fill_raw),
            goal="≥ 0.60",
        )
        self._empty()
        return figure

    def reserve_and_report(self, batch: int) -> Figure:
        """Batches claimed and finished, against the same two raw steps."""
        figure = compare(
            self.store,
            f"reserve + report, batch {batch}",
            wg=lambda: self.wg.rate_of_cycles(self.jobs, batch),
            raw=lambda: self._raw_cycles(batch),
            goal="≥ 0.50",
            rounds=3,
        )
        self._empty()
        return figure

    # ---------------------------------------------------------------- whole workers

    def drain(self) -> Figure:
        """One worker process with four threads and a no-op handler, against the raw claim and finish."""

        def wg() -> float:
            Client(self.wg.backend).enqueue_many(nothing.job("x" * 150) for _ in range(self.jobs))
            pool = WorkerPool(backend=self.wg.backend, handlers=[nothing], threads=4, batch_size=500)
            return rate(self.jobs, lambda: pool.run_until_idle(timeout=300))

        goal = DRAIN_GOALS.get(self.store, "")
        raw = lambda: self._raw_cycles(BATCH)  # noqa: E731
        return compare(self.store, "worker: reserve + run + ack", wg=wg, raw=raw, goal=goal, rounds=3)

    def pick_up(self) -> list[Figure]:
        """Time from enqueue to the handler on an idle worker, in raw round trips of the store."""
        trip = 1 / rate(500, lambda: repeat(self.raw.round_trip, 500))
        return pick_up_figures(self.store, self.url, trip)

    # ---------------------------------------------------------------- helpers

    def _raw_single(self) -> float:
        return rate(self._few, lambda: repeat(lambda: self.raw.push_one(self.wg.body), self._few))

    def _raw_cycles(self, batch: int) -> float:
        self._fill_raw()
        return rate(self.jobs, lambda: repeat(lambda: self.raw.cycle(batch), self.jobs // batch))

    def _fill_raw(self) -> None:
        for _ in range(self.jobs // BULK):
            self.raw.push_many([self.wg.body] * BULK)

    def _empty(self) -> None:
        self.wg.empty()
        while self.raw.cycle(500):
            pass
