"""Other queues on the same store, in the same run: those that are installed are measured, the others are left out.

Each stores the same number of no-op jobs one call at a time, then drains them with one process of four threads (RQ,
which has no threads, with its in-process worker). Each runs as its own documentation sets it up, results switched off
where it can do that.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, rate
from wg_core import Client, WorkerPool, job
from wg_core.handlers import HandlerRegistry
from wg_core.registry import open_backend

THREADS = 4
LONGEST_SECONDS = 600.0


def nothing() -> None:
    """The no-op that every queue runs; at module level, because RQ imports it by name."""


def _until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not drained within {LONGEST_SECONDS:.0f} s")
        threading.Event().wait(0.005)


@contextlib.contextmanager
def _wg(url: str, _folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], None]]]:
    handler = job(registry=HandlerRegistry())(nothing)
    with open_backend(url, namespace="benchpeers") as backend:
        client = Client(backend)
        pool = WorkerPool(backend=backend, handlers=[handler], threads=THREADS)
        yield lambda: client.enqueue(handler.job()), lambda: pool.run_until_idle(timeout=LONGEST_SECONDS)


@contextlib.contextmanager
def _huey(url: str, folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], None]]]:
    import huey  # noqa: PLC0415 - measured only where it is installed

    if url.startswith("sqlite"):
        queue = huey.SqliteHuey("bench", filename=str(folder / "huey.db"), results=False)
    else:
        queue = huey.RedisHuey("bench", url=url, results=False)
    task = queue.task()(nothing)

    def drain() -> None:
        consumer = queue.create_consumer(workers=THREADS, worker_type="thread", periodic=False, initial_delay=0.001)
        consumer.start()
        _until(lambda: queue.pending_count() == 0, "huey")
        consumer.stop(graceful=True)

    yield task, drain


@contextlib.contextmanager
def _rq(url: str, _folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], None]]]:
    import redis  # noqa: PLC0415
    import rq  # noqa: PLC0415

    connection = redis.Redis.from_url(url)
    queue = rq.Queue("bench", connection=connection)

    def drain() -> None:
        rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")

    yield lambda: queue.enqueue(nothing, result_ttl=0), drain
    connection.close()


@contextlib.contextmanager
def _dramatiq(url: str, _folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], None]]]:
    import dramatiq  # noqa: PLC0415
    from dramatiq.brokers.redis import RedisBroker  # noqa: PLC0415

    broker = RedisBroker(url=url)
    actor = dramatiq.actor(nothing, broker=broker, queue_name="bench")

    def drain() -> None:
        worker = dramatiq.Worker(broker, worker_threads=THREADS)
        worker.start()
        broker.join("bench", timeout=int(LONGEST_SECONDS * 1_000))
        worker.stop()

    yield actor.send, drain
    broker.close()


_PEERS = {"wg": _wg, "huey": _huey, "rq": _rq, "dramatiq": _dramatiq}
_ON = {"redis": ("wg", "huey", "rq", "dramatiq"), "sqlite": ("wg", "huey")}


def peer_figures(store: str, url: str, folder: Path, jobs: int) -> list[Figure]:
    """Return the rates of every installed queue on this store; `raw` is wg's rate, so the ratio is peer : wg."""
    logging.disable(logging.WARNING)
    figures: list[Figure] = []
    ours: tuple[float, float] | None = None
    for name in _ON.get(store, ()):
        if name != "wg" and importlib.util.find_spec(name) is None:
            continue
        with _PEERS[name](url, folder) as (enqueue, drain):
            enqueued = rate(jobs, lambda enqueue=enqueue: [enqueue() for _ in range(jobs)])
            drained = rate(jobs, drain)
        ours = ours or (enqueued, drained)
        for what, value, reference in (("enqueue, one a call", enqueued, ours[0]), ("drain", drained, ours[1])):
            figures.append(
                Figure(store=store, what=f"{name}: {what}", unit="/s", wg=value, raw=reference, goal="peer : wg")
            )
    logging.disable(logging.NOTSET)
    return figures
