"""Makes scheduled and retrying jobs ready when they are due."""

from __future__ import annotations

import time

from wg_core._service import Service
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend

SHORTEST_PAUSE_SECONDS = 0.001


class Promoter(Service):
    """Sleeps until the next job is due, and never longer than the interval: jobs may be added that are due earlier.

    Any number of workers may promote at once.
    """

    name = "promoter"

    def __init__(self, backend: Backend, store: StoreWatch, *, interval_seconds: float, batch_size: int) -> None:
        super().__init__()
        self._backend = backend
        self._store = store
        self._interval = interval_seconds
        self._batch_size = batch_size
        self._next_run = 0.0

    def expect(self, delay_seconds: float) -> None:
        """This worker made a job wait for that long: look in time. From any thread."""
        if time.monotonic() + delay_seconds < self._next_run:
            self.wake()

    def run_once(self) -> float:
        """Promote one batch; no pause while there is more."""
        pause = self._promote()
        self._next_run = time.monotonic() + pause
        return pause

    def _promote(self) -> float:
        with self._store.call("promote"):
            promoted = self._backend.promote(self._batch_size)
        if promoted.moved >= self._batch_size:
            return 0.0
        if promoted.next_due_seconds is None:
            return self._interval
        return min(self._interval, max(SHORTEST_PAUSE_SECONDS, promoted.next_due_seconds))
