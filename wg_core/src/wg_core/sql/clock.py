"""The clock of a database server, kept by an offset, because asking it at every call would double the round trips."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from wg_core.job import Timestamp

FRESH_SECONDS = 30.0
"""How long a measured offset is used. Two clocks that are kept by NTP drift apart by less than 0.02 s in that time."""

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts since the machine was started, on Linux also while it is suspended."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the server said, and when by our own clock that counts on."""

    server: Timestamp
    at: float


class ServerClock:
    """Tells the server's time in milliseconds. Thread-safe; itself without I/O but in `read`.

    Each of its fields is written whole, so it needs no lock, which the child of a fork could inherit locked.
    The offset is measured against a clock that nobody sets and that goes on while the machine sleeps. Half the
    round trip is taken for the way back; the error is at most the other half.
    """

    def __init__(self, *, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._fresh_seconds = fresh_seconds
        self._reading: _Reading | None = None
        self._forgotten = False

    def now(self) -> Timestamp:
        """Return the server's time; before the first reading, this machine's."""
        reading = self._reading
        if reading is None:
            return time.time_ns() // 1_000_000
        return reading.server + int((_seconds() - reading.at) * 1000)

    @property
    def is_due(self) -> bool:
        """Whether it should be read again."""
        reading = self._reading
        return reading is None or self._forgotten or _seconds() - reading.at > self._fresh_seconds

    def read(self, ask: Callable[[], Timestamp]) -> None:
        """Measure the offset: `ask` makes one round trip and returns the server's milliseconds, or raises."""
        sent = _seconds()
        server = ask()
        self._reading = _Reading(server, (sent + _seconds()) / 2)
        self._forgotten = False

    def forget(self) -> None:
        """Let it be read again at the next chance: after a failover the server may be another machine."""
        self._forgotten = True


def _seconds() -> float:
    return time.clock_gettime(_CLOCK)
