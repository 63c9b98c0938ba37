"""How many jobs to hold ahead of the threads: what the measured pace lets them start within a fifth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wg_core._slot import Slot

HORIZON_SECONDS = 0.2
"""A job that could not start within this time is better left to another worker."""

BLOCKED_SECONDS = 0.5
"""When every thread has been busy with one handler for so long, what waits is given back. A thread that computes
loses the interpreter for many milliseconds now and then, so a shorter time would take fast jobs for slow ones."""

SUSPECT_HORIZON_SECONDS = 1.0
"""Suspects run one after the other, and one that is given back with a delay loses its place: they may wait longer."""

UNMEASURED_SUSPECTS = 8
"""So many suspects may wait in a process that has not run anything yet: most often they are what its predecessor
was working on when it died, and the front of the queue."""

SAMPLE_JOBS = 20
"""So many jobs, or a horizon of handler time, outweigh what was measured before."""

MOST_BATCHES = 5
"""However fast the jobs are, no more batches than this are held ahead."""


class Prefetch:
    """Reads the slots of the executors; used by the fetcher's thread only.

    The service time follows the mean over what ended since the last look. It is a mean that moves at once for a
    single slow job and for a handful of fast ones, but hardly for one fast job that was interrupted.
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
        self._measure(slots)
        if _all_busy_for(slots) >= BLOCKED_SECONDS:  # so a buffer for fast jobs empties before the slow ones end
            return 0
        return min(self._most, self._per_thread() * len(slots))

    def suspects_ahead(self, runs_for: float | None) -> int:
        """Return how many suspects may wait, given for how long one has been running (None: none runs)."""
        if runs_for is not None and runs_for > SUSPECT_HORIZON_SECONDS:
            return 0
        return UNMEASURED_SUSPECTS if self._mean is None else max(1, self._within(SUSPECT_HORIZON_SECONDS))

    def _per_thread(self) -> int:
        return 0 if self._mean is None else self._within(HORIZON_SECONDS)

    def _within(self, seconds: float) -> int:
        """How many jobs one thread starts within the time, at the measured pace."""
        return self._most if not self._mean else int(min(self._most, seconds / self._mean))

    def _measure(self, slots: Sequence[Slot]) -> None:
        ended = sum(slot.ended for slot in slots)
        busy_seconds = sum(slot.busy_seconds for slot in slots)
        new_jobs, new_seconds = ended - self._ended, max(0.0, busy_seconds - self._busy_seconds)
        self._ended, self._busy_seconds = ended, busy_seconds
        if new_jobs <= 0:  # none, or a slot was replaced by one that begins at zero
            return
        mean = new_seconds / new_jobs
        weight = min(1.0, max(new_jobs / SAMPLE_JOBS, new_seconds / HORIZON_SECONDS))
        self._mean = mean if self._mean is None else self._mean + weight * (mean - self._mean)


def _all_busy_for(slots: Sequence[Slot]) -> float:
    """Return for how long every thread has been busy with the handler it runs; 0.0 when one is free."""
    since = [slot.busy_since for slot in slots]
    began = [one for one in since if one is not None]
    return time.monotonic() - max(began) if began and len(began) == len(since) else 0.0
