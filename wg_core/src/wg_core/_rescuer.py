"""Brings back the jobs of workers whose lease is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from wg_core._service import Service
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.backoff import draw
from wg_core.job import JobState
from wg_core.protocol import Rescued

_log = logging.getLogger("wg.worker")

MOST_LINES = 10
"""A worker that vanishes leaves a few jobs that ran and perhaps hundreds that waited: so many are named one by one."""

SPREAD = 0.2
"""Of the interval, so that the workers of a fleet do not all ask in the same moment."""


class Rescuer(Service):
    """Every worker rescues; the store decides in the writing statement who gets which job."""

    name = "rescuer"

    def __init__(
        self,
        backend: Backend,
        store: StoreWatch,
        worker: Callable[[], str],
        *,
        interval_seconds: float,
        lease_seconds: float,
        batch_size: int,
    ) -> None:
        super().__init__()
        self._backend = backend
        self._store = store
        self._worker = worker
        self._interval = interval_seconds
        self._lease_seconds = lease_seconds
        self._batch_size = batch_size

    def run_once(self) -> float:
        """Settle one batch; no pause while there is more.

        After an outage all leases look old, so everybody gets one lease of time to beat again before anybody
        is taken for dead. An outage that is not noticed yet is caught by the store: it asks for our own lease.
        """
        if self._store.reachable_for() < self._lease_seconds:
            return self._interval
        with self._store.call("rescue"):
            rescued = self._backend.rescue(self._batch_size, rescuer=self._worker())
        _log_rescued(rescued)
        return 0.0 if len(rescued) >= self._batch_size else self._interval * (1.0 + SPREAD * draw())


def _log_rescued(rescued: Sequence[Rescued]) -> None:
    worst_first = sorted(rescued, key=lambda one: one.state is not JobState.DEAD)
    for one in worst_first[:MOST_LINES]:
        level = logging.ERROR if one.state is JobState.DEAD else logging.WARNING
        charged = "the attempt counts" if one.charged else "the attempt does not count"
        _log.log(level, "job %s %s of vanished worker %s is %s, %s", one.id, one.name, one.worker, one.state, charged)
    if len(rescued) > MOST_LINES:
        _log.warning("%d more jobs of vanished workers were brought back", len(rescued) - MOST_LINES)
