"""Memory used by hand."""

from __future__ import annotations

import collections
import threading


class RawMemory:
    """A deque and a dict behind a lock."""

    def __init__(self, url: str) -> None:
        self._lock = threading.Lock()
        self._ready: collections.deque[tuple[int, bytes]] = collections.deque()
        self._running: dict[int, bytes] = {}
        self._next = 0

    def push_one(self, body: bytes) -> None:
        with self._lock:
            self._next += 1
            self._ready.append((self._next, body))

    def push_many(self, bodies: list[bytes]) -> None:
        with self._lock:
            for body in bodies:
                self._next += 1
                self._ready.append((self._next, body))

    def cycle(self, limit: int) -> int:
        with self._lock:
            claimed = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._running.update(claimed)
        with self._lock:
            for number, _ in claimed:
                del self._running[number]
        return len(claimed)

    def round_trip(self) -> None:
        with self._lock:
            pass

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self._ready.clear()
