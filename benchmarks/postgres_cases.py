"""What only PostgreSQL has: snapshots that are held elsewhere, and notifications."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event

import psycopg

from benchmarks.measure import Figure, compare, rate
from benchmarks.raw.postgres import RawPostgres
from benchmarks.side import BATCH, BULK, Side, repeat
from wg_postgres.marks import Marks

WORN_BY = 2
"""So many times the jobs of a round go through a queue before it is measured: what they leave there is the point."""

_SPAWN = multiprocessing.get_context("spawn")
_LONGEST_SECONDS = 30.0


def postgres_figures(url: str, jobs: int) -> Iterator[Figure]:
    """Yield the figures of both cases as they are taken."""
    with (
        contextlib.closing(Side(url, "benchheld")) as side,
        contextlib.closing(Side(url, "benchunmarked")) as unmarked,
        contextlib.closing(RawPostgres(url)) as raw,
    ):
        unmarked.backend._shortcuts._marks = Marks(slow_seconds=math.inf)  # type: ignore[attr-defined]

        def by_hand() -> float:
            for _ in range(jobs // BULK):
                raw.push_many([side.body] * BULK)
            return rate(jobs, lambda: repeat(lambda: raw.cycle(BATCH), jobs // BATCH))

        yield _under_snapshot("reserve + report", url, lambda: side.rate_of_cycles(jobs), goal="≥ 0.5")
        yield _under_snapshot("without the mark", url, lambda: unmarked.rate_of_cycles(jobs), goal="")
        yield _under_snapshot("by hand", url, by_hand, goal="")
    yield _with_waiter(url, max(200, jobs // 20))


def _under_snapshot(what: str, url: str, measure: Callable[[], float], *, goal: str) -> Figure:
    """Compare the same while a transaction is open elsewhere, whose snapshot keeps dead rows, and while none is."""

    def worn() -> float:
        for _ in range(WORN_BY):
            measure()
        return measure()

    def held() -> float:
        with psycopg.connect(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SELECT count(*) FROM pg_class")
            return worn()

    def free() -> float:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM")
        return worn()

    return compare(
        "postgres",
        f"{what}, a snapshot held elsewhere",
        wg=held,
        raw=free,
        goal=goal,
        rounds=3,
        against="none held",
    )


def _with_waiter(url: str, count: int) -> Figure:
    """Compare enqueue, one a call, while another process waits for the queue, and while nobody does.

    The queue is paused, so the waiter is notified of each job and goes on waiting.
    """
    with contextlib.closing(Side(url, "benchnotify")) as side:
        side.backend.pause("default")

        def awaited() -> float:
            with _waiter(url):
                return side.rate_of_single(count)

        return compare(
            "postgres",
            "enqueue, one a call, a waiter elsewhere",
            wg=awaited,
            raw=lambda: side.rate_of_single(count),
            goal="",
            against="nobody waits",
        )


@contextlib.contextmanager
def _waiter(url: str) -> Iterator[None]:
    """Let another process wait for the queue."""
    begun, stop = _SPAWN.Event(), _SPAWN.Event()
    process = _SPAWN.Process(target=_wait_for_jobs, args=(url, begun, stop))
    process.start()
    try:
        if not begun.wait(_LONGEST_SECONDS):
            raise RuntimeError(f"no waiter within {_LONGEST_SECONDS:.0f} s")
        yield
    finally:
        stop.set()
        process.join(_LONGEST_SECONDS)


def _wait_for_jobs(url: str, begun: Event, stop: Event) -> None:
    with contextlib.closing(Side(url, "benchnotify")) as side:
        side.backend.wait(["default"], 0.5)  # opens what it listens with
        begun.set()
        while not stop.is_set():
            side.backend.wait(["default"], 0.5)
