"""Deletes dead letters that are too old, and ends waiting jobs whose time to live is over."""

from __future__ import annotations

import logging

from wg_core._service import Service
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.backoff import draw
from wg_core.protocol import Retention

_log = logging.getLogger("wg.worker")

RETENTION = Retention(dead_seconds=90 * 86_400.0, dead_most=1_000_000)
"""Dead letters are for people, who look at them within a quarter of a year or never."""

INTERVAL_SECONDS = 60.0
SPREAD = 0.2
BATCH_SIZE = 500


class Pruner(Service):
    """Bounded work per call; any number of workers may prune at once."""

    name = "pruner"

    def __init__(self, backend: Backend, store: StoreWatch, retention: Retention = RETENTION) -> None:
        super().__init__()
        self._backend = backend
        self._store = store
        self._retention = retention

    def run_once(self) -> float:
        """Prune one batch; no pause while there is more."""
        with self._store.call("prune"):
            pruned = self._backend.prune(self._retention, BATCH_SIZE)
        if pruned:
            _log.info("pruned %d dead or expired jobs", pruned)
        return 0.0 if pruned >= BATCH_SIZE else INTERVAL_SECONDS * (1.0 + SPREAD * draw())
