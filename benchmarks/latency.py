"""How soon an idle worker starts a job that another process enqueues."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from typing import Any

from benchmarks.measure import Figure
from wg_core import Client, WorkerPool, job
from wg_core.handlers import HandlerRegistry

JOBS = 20
NAMESPACE = "benchwait"
LONGEST_SECONDS = 30.0


def pick_up_figures(store: str, url: str, trip_seconds: float) -> list[Figure]:
    """Return the median and the longest time from enqueue to handler, against a round trip of the store.

    The worker is another process, as behind a web server, where the store can be shared by processes. It was idle
    for half a second to a second each time, so that a polling one has slowed down.
    """
    with _worker(store, url) as began_at:
        waits = list(_waits(url, began_at))
    return [
        Figure(
            store=store,
            what=f"idle pick-up, {name}",
            unit="ms",
            wg=value * 1e3,
            raw=trip_seconds * 1e3,
            goal=goal,
            against="a raw round trip",
        )
        for name, value, goal in (
            ("median", statistics.median(waits), "≤ 20 ms, or ≤ 3 round trips"),
            ("longest", max(waits), ""),
        )
    ]


def _waits(url: str, began_at: Callable[[], float]) -> Iterator[float]:
    with Client.connect(url, namespace=NAMESPACE) as client:
        for number in range(JOBS + 1):
            threading.Event().wait(random.uniform(0.5, 1.0))
            begin = time.perf_counter()
            client.enqueue(_job().job())
            waited = began_at() - begin
            if number:  # the first one also opened the connections
                yield waited


@contextlib.contextmanager
def _worker(store: str, url: str) -> Iterator[Callable[[], float]]:
    """Run a worker, in another process where the store allows; yield what returns when its next handler began."""
    if store == "memory":
        times: queue.Queue[float] = queue.Queue()
        with WorkerPool(url=url, namespace=NAMESPACE, handlers=[_job(times)], threads=2):
            yield lambda: times.get(timeout=LONGEST_SECONDS)
        return
    context = multiprocessing.get_context("spawn")
    sent, ready, stop = context.Queue(), context.Event(), context.Event()
    process = context.Process(target=_serve, args=(url, sent, ready, stop))
    process.start()
    try:
        if not ready.wait(LONGEST_SECONDS):
            raise RuntimeError(f"no worker within {LONGEST_SECONDS:.0f} s")
        yield lambda: float(sent.get(timeout=LONGEST_SECONDS))
    finally:
        stop.set()
        process.join(LONGEST_SECONDS)


def _serve(url: str, times: Any, ready: Event, stop: Event) -> None:
    with WorkerPool(url=url, namespace=NAMESPACE, handlers=[_job(times)], threads=2):
        ready.set()
        stop.wait()


def _job(times: Any = None) -> Any:
    """Return the job; its handler tells when it began (perf_counter is one clock for all processes of a Linux)."""

    @job(name="noticed", registry=HandlerRegistry())
    def noticed() -> None:
        times.put(time.perf_counter())

    return noticed
