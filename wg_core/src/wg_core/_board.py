"""The board in shared memory: what a worker process is doing, readable by its supervisor even after a SIGKILL.

::

    word 0            tick: changes while the process schedules its own threads
    slot n, 128 bytes at 64 + 128 * n:
        word 0        generation of the running handler, 0 when the slot is idle; written last at a start
        word 1        lease_no
        word 2        deadline on the time.monotonic() clock, infinity = no timeout
        bytes 24-88   job id, ASCII, padded with NUL

Every word is stored by one machine instruction, and a generation is never used twice in a slot, so a reader that
finds the same generation before and after it read the rest has read one handler's facts. A process that is killed
in the middle of writing leaves the slot idle, as it was: its handler had not begun.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

_HEADER = 64
_SLOT = 128
_WORD = 8
_FACTS = struct.Struct("@qd64s")
"""lease_no, deadline, job id: what follows the generation of a slot."""


@dataclass(frozen=True, slots=True)
class RunningHandler:
    """A handler that is running, as its process showed it."""

    job_id: str
    lease_no: int
    deadline: float
    """On the time.monotonic() clock, which all processes of a machine share; infinity = no timeout."""


class SharedBoard:
    """A `_lease.Board` in memory that two processes share; no locks, no I/O. Unmapped when nobody refers to it."""

    def __init__(self, fd: int, slots: int) -> None:
        """Map the board behind `fd`, which may be closed afterwards."""
        self._slots = slots
        self._memory = mmap.mmap(fd, _size(slots))
        self._words = memoryview(self._memory).cast("Q")
        self._generations = [0] * slots  # the writing process only

    def tick(self) -> None:
        """Show that the process still schedules its own threads."""
        self._words[0] += 1

    def started(self, slot: int, job_id: str, lease_no: int, deadline: float | None) -> None:
        """A handler is about to run in the slot."""
        begin = _HEADER + slot * _SLOT
        self._generations[slot] += 1
        limit = float("inf") if deadline is None else deadline
        _FACTS.pack_into(self._memory, begin + _WORD, lease_no, limit, job_id.encode("ascii"))
        self._words[begin // _WORD] = self._generations[slot]

    def ended(self, slot: int) -> None:
        """The handler of the slot is over."""
        self._words[(_HEADER + slot * _SLOT) // _WORD] = 0

    @property
    def ticks(self) -> int:
        """A number that changes while the process schedules its threads."""
        return self._words[0]

    def running(self) -> list[RunningHandler]:
        """Return the handlers that are running now, or were when the process died."""
        found = (self._read(slot) for slot in range(self._slots))
        return [handler for handler in found if handler is not None]

    def _read(self, slot: int) -> RunningHandler | None:
        begin = _HEADER + slot * _SLOT
        while generation := self._words[begin // _WORD]:
            lease_no, deadline, job_id = _FACTS.unpack_from(self._memory, begin + _WORD)
            if self._words[begin // _WORD] == generation:
                return RunningHandler(job_id.rstrip(b"\0").decode("ascii"), lease_no, deadline)
        return None


def create_memory(slots: int) -> int:
    """Return a file descriptor of fresh, zeroed memory for a board; nothing of it shows in the file system."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("wg-board", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="wg-board-")
        os.unlink(path)  # noqa: PTH108 - mkstemp speaks in strings
    os.ftruncate(fd, _size(slots))
    return fd


def _size(slots: int) -> int:
    return _HEADER + slots * _SLOT
