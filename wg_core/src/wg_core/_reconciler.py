"""Finds jobs that the store believes we run and we know nothing of, and gives them back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wg_core._held import JobKey, Lease
from wg_core._service import Service

_log = logging.getLogger("wg.worker")

LOOK_SECONDS = 5.0
"""How often it looks whether there is a reason to ask the store: a lost answer."""

INTERVAL_SECONDS = 60.0
"""How often the store is asked without a reason."""

AGAIN_SECONDS = 1.0


class Reconciler(Service):
    """A job must be unknown twice in a row: one that was just settled may be in an answer that was on its way."""

    name = "reconciler"

    def __init__(self, lease: Callable[[], Lease]) -> None:
        super().__init__()
        self._lease = lease
        # Only the duty's own thread.
        self._asked_at = time.monotonic()
        self._ambiguous_answers = 0
        self._unknown: set[JobKey] = set()
        self._unknown_to: Lease | None = None

    def run_once(self) -> float:
        """Compare once, if there is a reason to, and give back what was unknown the last time too."""
        lease = self._lease()
        if lease.lost or not self._has_reason(lease):
            return LOOK_SECONDS
        ambiguous_answers = lease.ambiguous_answers
        unknown = lease.unknown_jobs()
        if unknown is None:
            return AGAIN_SECONDS
        if lease is not self._unknown_to:
            self._unknown, self._unknown_to = set(), lease
        twice = unknown & self._unknown
        if twice:
            _log.warning("giving back %d jobs whose reserve was never answered", len(twice))
            lease.give_back(twice)
        self._unknown = unknown - twice
        self._asked_at = time.monotonic()
        self._ambiguous_answers = ambiguous_answers
        return AGAIN_SECONDS if unknown else LOOK_SECONDS

    def _has_reason(self, lease: Lease) -> bool:
        return bool(
            self._unknown
            or lease.ambiguous_answers != self._ambiguous_answers
            or time.monotonic() - self._asked_at >= INTERVAL_SECONDS
        )
