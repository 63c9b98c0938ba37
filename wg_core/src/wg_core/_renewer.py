"""Beats for the worker processes of a supervisor: all in one call, for those that show signs of life."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

import msgspec

from wg_core._channel import News
from wg_core._child import Child
from wg_core._service import Service
from wg_core._store_watch import StoreWatch
from wg_core._vigil import Verdict, judge, process_state
from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_core.protocol import BeatAnswer, WorkerBeat, WorkerInfo
from wg_core.settings import WorkerSettings

_log = logging.getLogger("wg.supervisor")


class Renewer(Service):
    """Registers worker processes that are ready, renews their leases, and passes the news on to them.

    It ends a process that shows no sign of life and has no excuse. `on_lease_lost` is called from the duty's thread
    after a child was marked.
    """

    name = "renewer"

    def __init__(
        self,
        backend: Backend,
        watch: StoreWatch,
        settings: WorkerSettings,
        children: Callable[[], Iterable[Child]],
        on_lease_lost: Callable[[], None],
    ) -> None:
        super().__init__()
        self._backend = backend
        self._watch = watch
        self._settings = settings
        self._children = children
        self._on_lease_lost = on_lease_lost

    def run_once(self) -> float:
        """Look at every child and beat for those that may be; the pause keeps the beats evenly spaced."""
        began = time.monotonic()
        alive = [child for child in self._children() if child.is_ready and self._may_beat(child)]
        if alive:
            try:
                with self._watch.call("beat"):
                    answer = self._backend.beat([self._beat_of(child) for child in alive])
            except (BackendUnavailableError, AmbiguousResultError) as error:
                _log.debug("no beat: %s", error)
            else:
                self._pass_on(alive, answer)
        return max(0.0, self._settings.heartbeat - (time.monotonic() - began))

    def _may_beat(self, child: Child) -> bool:
        if child.has_ended or child.is_lease_lost:
            return False
        now = time.monotonic()
        silent = child.pulse.look(child.board.ticks, now)
        verdict = judge(
            is_stopped=process_state(child.pid) in {"T", "t"},
            silent_seconds=silent,
            running=child.board.running(),
            now=now,
            heartbeat_seconds=self._settings.heartbeat,
            lease_seconds=self._settings.lease,
        )
        if verdict is Verdict.REPLACE:
            child.kill(f"it showed no sign of life for {silent:.1f} s")
        return verdict is Verdict.BEAT

    def _beat_of(self, child: Child) -> WorkerBeat:
        lease = self._settings.lease
        if child.is_registered:
            return WorkerBeat(worker=child.worker, lease_seconds=lease)
        return WorkerBeat(worker=child.worker, lease_seconds=lease, first=True, info=self._describe(child))

    def _describe(self, child: Child) -> bytes:
        host = socket.gethostname()
        info = WorkerInfo(
            host=host,
            pid=child.pid,
            threads=self._settings.threads,
            queues=self._settings.queues,
            started_at=int(child.started_at * 1_000),
            version=version("wg-core"),
            supervisor=f"{host}:{os.getpid()}",
        )
        return msgspec.json.encode(info)

    def _pass_on(self, alive: Iterable[Child], answer: BeatAnswer) -> None:
        for child in alive:
            news = answer.news[child.worker]
            child.is_registered = True
            child.channel.send(News(lease_lost=news.lease_lost, cancels=news.cancels, paused=answer.paused))
            if news.lease_lost:
                child.is_lease_lost = True
                self._on_lease_lost()
