"""Gives back the jobs of dead worker processes, at once; and again and again while the store is away."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from wg_core._service import FOREVER, Service
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.backoff import draw, pause_after
from wg_core.errors import BackendError
from wg_core.protocol import Rescued

_log = logging.getLogger("wg.supervisor")


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that is gone for certain."""

    worker: str
    pid: int
    started: tuple[tuple[str, int], ...]
    """(id, lease_no) of the handlers that were running: their attempts count."""
    reason: str


class Retirer(Service):
    """Retires dead workers in the order of their deaths. A death is forgotten only when the store has answered."""

    name = "retirer"

    def __init__(self, backend: Backend, watch: StoreWatch, on_retired: Callable[[Death, list[Rescued]], None]) -> None:
        super().__init__()
        self._backend = backend
        self._watch = watch
        self._on_retired = on_retired
        self._tries = 0  # only the duty's own thread
        self._finish_by = math.inf
        # Others append, only the duty's own thread takes away.
        self._pending: deque[Death] = deque()

    def add(self, death: Death) -> None:
        """Retire a worker as soon as possible; returns at once. From any thread."""
        self._pending.append(death)
        self.wake()

    @property
    def unsettled(self) -> int:
        """How many deaths the store has not heard of."""
        return len(self._pending)

    def finish(self, within_seconds: float) -> None:
        """Settle what is pending, at most for so long, and end; blocks."""
        self._finish_by = time.monotonic() + within_seconds
        self.stop()
        self.join(within_seconds)

    def run_once(self) -> float:
        """Retire all that are pending; on an error put the one it hit last, so that it holds up no other."""
        while self._pending:
            death = self._pending[0]
            try:
                with self._watch.call("retire"):
                    rescued = self._backend.retire(death.worker, death.started, death.reason)
            except BackendError as error:
                self._pending.rotate(-1)
                self._tries += 1
                _log.debug("worker %s not retired yet: %s", death.worker, error)
                return pause_after(self._tries, draw())
            self._tries = 0
            self._on_retired(death, rescued)
            self._pending.popleft()
        # Whoever stops us while deaths are pending does not wake us again.
        return 0.0 if self.is_stopping else FOREVER

    def _is_done(self) -> bool:
        return self.is_stopping and (not self._pending or time.monotonic() > self._finish_by)
