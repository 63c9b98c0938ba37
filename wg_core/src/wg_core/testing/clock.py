"""A clock that a test moves by hand, handed to the store as `now=`."""

from __future__ import annotations

import threading
import time

from wg_core.job import Timestamp


class Clock:
    """Milliseconds since the epoch; begins at the real time and stands still until it is moved. Thread-safe."""

    def __init__(self, now: Timestamp | None = None) -> None:
        self._lock = threading.Lock()
        self._now = time.time_ns() // 1_000_000 if now is None else now

    @property
    def now(self) -> Timestamp:
        """The time to pass to a backend."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> Timestamp:
        """Move forward (or back, when negative) and return the new time."""
        with self._lock:
            self._now += round(seconds * 1000)
            return self._now

    def ahead(self, seconds: float) -> Timestamp:
        """Return the time that many seconds from now, without moving."""
        return self.now + round(seconds * 1000)
