"""How many jobs to hold ahead of the threads: what the measured pace lets them start within a fifth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wg_core._slot import Slot

HORIZON_SECONDS = 0.2
"""A job that could not start within this time is better left to another worker."""

MOST_BATCHES = 5
"""However fast the jobs are, no more batches than this are held ahead."""


class Prefetch:
    """Reads the slots of the executors; used by the fetcher's thread only.

    The service time is the mean over what ended since the last look, and no less than what the handlers that run
    now have already taken while all threads are busy: so a buffer that was right for no-op jobs shrinks as soon as
    slow ones block the threads, and not only when those end.
    """

    def __init__(self, slots: Callable[[], Sequence[Slot]], batch_size: int) -> None:
        self._slots = slots
        self._most = MOST_BATCHES * batch_size
        self._mean: float | None = None
        self._ended = 0
        self._busy_seconds = 0.0

    def jobs_ahead(self) -> int:
        """Return how many jobs may wait in the buffer beyond one for each idle thread."""
        slots = self._slots()
        return min(self._most, self._per_thread(self._service_seconds(slots)) * len(slots))

    def suspects_ahead(self, runs_for: float | None) -> int:
        """Return how many suspects may wait, given for how long one has been running (None: none runs)."""
        if runs_for is None:
            return max(1, self._per_thread(self._mean))
        return 0 if runs_for > HORIZON_SECONDS else self._per_thread(self._mean)

    def _per_thread(self, service_seconds: float | None) -> int:
        if service_seconds is None:  # nothing was measured yet
            return 0
        return self._most if service_seconds <= 0.0 else int(min(self._most, HORIZON_SECONDS / service_seconds))

    def _service_seconds(self, slots: Sequence[Slot]) -> float | None:
        ended = sum(slot.ended for slot in slots)
        busy_seconds = sum(slot.busy_seconds for slot in slots)
        if ended > self._ended:
            self._mean = max(0.0, busy_seconds - self._busy_seconds) / (ended - self._ended)
        self._ended, self._busy_seconds = ended, busy_seconds
        running = _shortest_run(slots)
        if running is None or self._mean is None:
            return self._mean
        return max(self._mean, running)


def _shortest_run(slots: Sequence[Slot]) -> float | None:
    """Return for how long every thread has been busy with its handler; None when one is free."""
    now = time.monotonic()
    since = [slot.busy_since for slot in slots]
    runs = [now - began for began in since if began is not None]
    return min(runs) if len(runs) == len(since) and runs else None
