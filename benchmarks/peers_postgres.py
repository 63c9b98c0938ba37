"""Queues that exist for PostgreSQL only. Their workers are asyncio: four jobs at once, as others have four threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

THREADS = 4
Peer = tuple[Callable[[], Any], Callable[[], None]]


@contextlib.contextmanager
def procrastinate(url: str, _folder: Path) -> Iterator[Peer]:
    """Enqueue by the synchronous connector, drain by `run_worker` without waiting; done jobs are deleted."""
    import procrastinate as package  # noqa: PLC0415 - measured only where it is installed

    app = package.App(connector=package.SyncPsycopgConnector(conninfo=url))
    task = app.task(name="nothing", queue="bench")(_nothing)
    with app.open():
        app.schema_manager.apply_schema()

        def drain() -> None:
            with app.replace_connector(package.PsycopgConnector(conninfo=url)) as same:
                same.run_worker(
                    queues=["bench"],
                    concurrency=THREADS,
                    wait=False,
                    listen_notify=False,
                    delete_jobs="successful",
                    install_signal_handlers=False,
                )

        yield task.defer, drain


@contextlib.contextmanager
def pgqueuer(url: str, _folder: Path) -> Iterator[Peer]:
    """One psycopg connection for enqueue, one for the drain; batches as large as it takes them by default."""
    import psycopg  # noqa: PLC0415
    from pgqueuer import PgQueuer, PsycopgDriver, Queries  # noqa: PLC0415
    from pgqueuer.types import QueueExecutionMode  # noqa: PLC0415

    async def connect() -> Any:
        return PsycopgDriver(await psycopg.AsyncConnection.connect(url, autocommit=True))

    async def drain() -> None:
        queue = PgQueuer(await connect())

        @queue.entrypoint("nothing")
        async def nothing(job: Any) -> None:
            pass

        await queue.qm.run(mode=QueueExecutionMode.drain, max_concurrent_tasks=None)

    with asyncio.Runner() as runner:
        queries = Queries(runner.run(connect()))
        runner.run(queries.install())
        yield lambda: runner.run(queries.enqueue("nothing", None)), lambda: runner.run(drain())


def _nothing() -> None:
    """The no-op that every queue runs."""
