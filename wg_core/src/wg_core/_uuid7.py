"""Job ids: UUID version 7 (RFC 9562), rising within a process.

An id starts with the time, so ids made one after the other lie together in a store's index. The 74 bits behind the
time are a random number that is raised by a random step within one millisecond (RFC 9562, 6.2, method 2): ids of
one process rise strictly, also when the clock stands still or runs backwards.
"""

from __future__ import annotations

import os
import random
import threading
import time

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_TAIL_BITS = 74
_START_BITS = 73  # the top bit starts at zero, so that a millisecond has room to count up
_STEP_BITS = 32


class _Generator:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random()  # noqa: S311 - ids must be unique, not secret; a private one, seeded by the OS
        self._millisecond = 0
        self._tail = 0

    def next_value(self) -> int:
        millisecond = time.time_ns() // 1_000_000
        with self._lock:
            if millisecond > self._millisecond:
                self._millisecond = millisecond
                self._tail = self._random.getrandbits(_START_BITS)
            else:
                self._tail += 1 + self._random.getrandbits(_STEP_BITS)
                self._carry()
            return _assemble(self._millisecond, self._tail)

    def _carry(self) -> None:
        if self._tail >> _TAIL_BITS:
            self._millisecond += 1
            self._tail = self._random.getrandbits(_START_BITS)


def _assemble(millisecond: int, tail: int) -> int:
    return (millisecond << 80) | (tail >> 62 << 64) | (tail & (1 << 62) - 1) | _VERSION_AND_VARIANT


_generator = _Generator()


def new_id() -> str:
    """Return a new id in the usual form of 36 characters. Thread-safe; two processes never make the same."""
    text = f"{_generator.next_value():032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _start_anew() -> None:
    # A child inherits the seed, which would repeat its parent's ids, and maybe a lock that nobody will open.
    global _generator  # noqa: PLW0603 - the one instance of this process
    _generator = _Generator()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
