"""Signs of life: the lease of an embedded worker, and the tick of one under a supervisor."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from importlib.metadata import version

import msgspec

from wg_core._lease import Board, OnNews
from wg_core._service import Service
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.backoff import draw, pause_after
from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_core.protocol import WorkerBeat, WorkerInfo, WorkerNews
from wg_core.settings import WorkerSettings

_log = logging.getLogger("wg.worker")


def new_worker_id() -> str:
    """Return an id that no other start of a worker ever had: host, pid and chance, at most 64 ASCII characters.

    Host and pid are for people. They repeat (containers, reboots), so the chance alone makes it unique.
    """
    host = socket.gethostname().encode("ascii", "replace").decode().partition(".")[0][:30]
    return f"{host}-{os.getpid()}-{secrets.token_hex(8)}"


def worker_info(settings: WorkerSettings) -> bytes:
    """Return what an embedded worker says of itself, as JSON."""
    info = WorkerInfo(
        host=socket.gethostname(),
        pid=os.getpid(),
        threads=settings.threads,
        queues=settings.queues,
        started_at=time.time_ns() // 1_000_000,
        version=version("wg-core"),
    )
    return msgspec.json.encode(info)


class Beater(Service):
    """The LeaseKeeper of an embedded worker: beats from a thread of its own until the lease is lost or it is stopped.

    A handler that holds the GIL for longer than the lease starves it; only a supervisor can keep a lease then.
    """

    name = "beater"

    def __init__(
        self, backend: Backend, store: StoreWatch, worker: str, *, lease: float, heartbeat: float, info: bytes
    ) -> None:
        super().__init__()
        self._backend = backend
        self._store = store
        self._worker = worker
        self._lease_seconds = lease
        self._heartbeat = heartbeat
        self._info = info
        self._on_news: OnNews | None = None

    def start(self, on_news: OnNews | None = None) -> None:
        """Register the worker and start beating; blocks until registered or stopped.

        A store that is away is asked again; a refusal (rights, schema) is raised.
        """
        self._on_news = on_news
        failures = 0
        while not self.is_stopping:
            try:
                self._beat(first=True)
            except (BackendUnavailableError, AmbiguousResultError):  # registering twice is harmless
                failures += 1
                self._pause(pause_after(failures, draw()))
            else:
                super().start()
                return

    def replace_process(self, reason: str) -> bool:
        """Embedded, nobody can replace the process."""
        _log.error("nobody can replace this process, it is embedded: %s", reason)
        return False

    def run_once(self) -> float:
        """Beat once and pass the news on; no more beats once the lease is lost."""
        news = self._beat(first=False)
        if news.lease_lost:
            self.stop()
        return self._heartbeat

    def _beat(self, *, first: bool) -> WorkerNews:
        beat = WorkerBeat(
            worker=self._worker,
            lease_seconds=self._lease_seconds,
            first=first,
            info=self._info if first else None,
        )
        with self._store.call("beat"):
            answer = self._backend.beat([beat])
        news = answer.news[self._worker]
        if self._on_news is not None:
            self._on_news(news, answer.paused)
        return news


class Ticker(Service):
    """Shows on the board that the process still schedules its own threads."""

    name = "ticker"

    def __init__(self, board: Board, heartbeat: float) -> None:
        super().__init__()
        self._board = board
        self._interval = heartbeat / 4.0

    def run_once(self) -> float:
        """Tick."""
        self._board.tick()
        return self._interval
