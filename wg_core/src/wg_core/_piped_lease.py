"""The lease of a worker process, kept by its supervisor; and by the process itself when the supervisor is silent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from wg_core._channel import Channel, News, Ready, ReplaceMe
from wg_core._lease import OnNews
from wg_core._service import FOREVER, Service
from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_core.protocol import WorkerBeat, WorkerNews

_log = logging.getLogger("wg.worker")


class PipedLease:
    """The LeaseKeeper of a worker process. News come in through `heard`, from the process's main thread.

    A supervisor that is dead, suspended or cut off from the store is silent. After half a lease of silence the
    process beats for itself until it is heard again, so that what runs here is not given to others meanwhile.
    """

    def __init__(
        self,
        channel: Channel,
        backend: Backend,
        worker: str,
        *,
        lease: float,
        heartbeat: float,
        on_lease_lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._on_lease_lost = on_lease_lost
        self._on_news: OnNews | None = None
        self._is_decided = threading.Event()  # registered, or given up before
        self.is_lost = False
        self._stand_in = StandIn(backend, worker, lease=lease, heartbeat=heartbeat, on_news=self._tell)

    # ------------------------------------------------------------------ for the pool

    def start(self, on_news: OnNews) -> None:
        """Ask the supervisor to register the worker; blocks until it has, or until the process stops."""
        self._on_news = on_news
        self._channel.send(Ready())
        self._is_decided.wait()
        self._stand_in.start()

    def stop(self) -> None:
        """End our own beats; the supervisor's end when the process says goodbye. Idempotent."""
        self._is_decided.set()
        self._stand_in.stop()

    def replace_process(self, reason: str) -> bool:
        """Ask the supervisor for a replacement; False when there is no supervisor any more."""
        if self._channel.is_closed:
            return False
        self._channel.send(ReplaceMe(reason=reason))
        return True

    # ------------------------------------------------------------------ for the main thread of the process

    def heard(self, news: News) -> None:
        """Pass on what the supervisor says; the first news mean that the worker is registered."""
        self._stand_in.hold_back()
        self._is_decided.set()
        self._tell(WorkerNews(lease_lost=news.lease_lost, cancels=news.cancels), news.paused)

    def orphaned(self) -> None:
        """The supervisor is dead: from now on we beat for ourselves until `stop`."""
        self._is_decided.set()
        self._stand_in.take_over()

    def _tell(self, news: WorkerNews, paused: frozenset[str]) -> None:
        if self._on_news is not None:
            self._on_news(news, paused)
        if news.lease_lost and not self.is_lost:
            self.is_lost = True
            self._on_lease_lost()


class StandIn(Service):
    """Beats for the own process while nobody else does; never brings back a worker that is gone."""

    name = "stand-in"

    def __init__(self, backend: Backend, worker: str, *, lease: float, heartbeat: float, on_news: OnNews) -> None:
        super().__init__()
        self._backend = backend
        self._beat = WorkerBeat(worker=worker, lease_seconds=lease)
        self._heartbeat = heartbeat
        self._patience = lease / 2
        self._on_news = on_news
        self._last_heard = time.monotonic()  # written by the main thread of the process

    def hold_back(self) -> None:
        """The supervisor beat for us just now."""
        self._last_heard = time.monotonic()

    def take_over(self) -> None:
        """Nobody will beat for us any more."""
        self._last_heard = float("-inf")
        self.wake()

    def run_once(self) -> float:
        """Beat if the supervisor was silent for half a lease."""
        silence = time.monotonic() - self._last_heard
        if silence < self._patience:
            return self._patience - silence
        try:
            answer = self._backend.beat([self._beat])
        except (BackendUnavailableError, AmbiguousResultError) as error:
            _log.debug("no beat of our own: %s", error)
            return self._heartbeat
        news = answer.news[self._beat.worker]
        self._on_news(news, answer.paused)
        return FOREVER if news.lease_lost else self._heartbeat
