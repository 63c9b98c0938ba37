"""The place of one worker process under a supervisor: who sits there, and when the next may start."""

from __future__ import annotations

import math
from collections import deque

from wg_core._child import Child

CRASH_WINDOW_SECONDS = 60.0
CRASHES_AT_ONCE = 5
"""So many ends within the window are replaced at once; from then on each replacement waits longer."""
FIRST_DELAY_SECONDS = 0.25
MOST_DELAY_SECONDS = 15.0


class Seat:
    """One of the `processes` of a supervisor. Only its main thread uses it."""

    def __init__(self, number: int) -> None:
        self.number = number
        """From 1, for people."""
        self.child: Child | None = None
        self.start_at = -math.inf
        """When the next child may start, on the time.monotonic() clock; infinity closes the seat."""

    @property
    def is_closed(self) -> bool:
        """Whether nobody sits here and nobody will."""
        return self.child is None and self.start_at == math.inf

    def is_due(self, now: float) -> bool:
        """Whether a child is missing and may start."""
        return self.child is None and self.start_at <= now

    def close(self) -> None:
        """Let nobody sit here any more."""
        self.child = None
        self.start_at = math.inf


class CrashLoop:
    """Slows down replacements when processes end again and again; pure but for what it remembers."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()

    def delay(self, now: float) -> float:
        """Note an end nobody asked for, and return for how many seconds its replacement must wait."""
        self._ends.append(now)
        while self._ends[0] < now - CRASH_WINDOW_SECONDS:
            self._ends.popleft()
        excess = len(self._ends) - CRASHES_AT_ONCE
        return 0.0 if excess < 0 else min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(excess, 30))
