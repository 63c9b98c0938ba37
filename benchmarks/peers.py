"""Other queues on the same store, in the same run: those that are installed are measured, the others are left out.

Each stores the same number of no-op jobs one call at a time, then drains them with one process of four threads (RQ,
which has no threads, with its in-process worker; asyncio workers with four jobs at once). Each runs as its own
documentation sets it up, results switched off where it can do that. For all of them: `pip install huey peewee rq
dramatiq procrastinate "pgqueuer[psycopg]"`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import peers_postgres
from benchmarks.measure import Figure, rate
from benchmarks.side import repeat
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

        def drain() -> None:
            pool = WorkerPool(backend=backend, handlers=[handler], threads=THREADS)
            pool.run_until_idle(timeout=LONGEST_SECONDS)

        yield lambda: client.enqueue(handler.job()), drain


@contextlib.contextmanager
def _huey(url: str, folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], None]]]:
    import huey  # noqa: PLC0415 - measured only where it is installed

    if url.startswith("sqlite"):
        queue = huey.SqliteHuey("bench", filename=str(folder / "huey.db"), results=False)
    elif url.startswith("postgres"):
        queue = huey.PostgresHuey("bench", dsn=url, results=False)
    elif url.startswith("mysql"):
        from huey.contrib.sql_huey import SqlHuey  # noqa: PLC0415 - needs peewee

        queue = SqlHuey("bench", database=url, results=False)
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


_PEERS = {
    "wg": _wg,
    "huey": _huey,
    "rq": _rq,
    "dramatiq": _dramatiq,
    "procrastinate": peers_postgres.procrastinate,
    "pgqueuer": peers_postgres.pgqueuer,
}
_ON = {
    "redis": ("wg", "huey", "rq", "dramatiq"),
    "sqlite": ("wg", "huey"),
    "postgres": ("wg", "huey", "procrastinate", "pgqueuer"),
    "mariadb": ("wg", "huey"),
}
_NEEDS = {("mariadb", "huey"): "peewee"}


def peer_figures(store: str, url: str, folder: Path, jobs: int) -> list[Figure]:
    """Return the rates of every installed queue on this store; `raw` is wg's rate, so the ratio is peer : wg."""
    logging.disable(logging.WARNING)
    figures: list[Figure] = []
    ours: tuple[float, float] | None = None
    for name in _ON.get(store, ()):
        if name != "wg" and not _is_installed(name, _NEEDS.get((store, name), name)):
            continue
        with _PEERS[name](url, folder) as (enqueue, drain):
            enqueue()  # once before, so that connections and tables are there
            drain()
            enqueued = rate(jobs, functools.partial(repeat, enqueue, jobs))
            drained = rate(jobs, drain)
        ours = ours or (enqueued, drained)
        for what, value, reference in (("enqueue, one a call", enqueued, ours[0]), ("drain", drained, ours[1])):
            figures.append(
                Figure(store=store, what=f"{name}: {what}", unit="/s", wg=value, raw=reference, goal="", against="wg")
            )
    logging.disable(logging.NOTSET)
    return figures


def _is_installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)
