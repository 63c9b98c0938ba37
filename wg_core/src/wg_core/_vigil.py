"""May the supervisor renew the lease of a worker process? Decided here, from signs of life alone.

A process whose threads run shows a moving tick. A handler in a C call that holds the GIL stops the tick of its
whole process though nothing is wrong: it is excused until its deadline. Whatever has no excuse loses first its
beats and then its life, so that its jobs never hang on a process that will not move again.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Sequence
from pathlib import Path

from wg_core._board import RunningHandler

MOST_SILENT_SECONDS = 3_600.0
"""For how long handlers without a timeout may keep their process silent."""

DEADLINE_GRACE_SECONDS = 5.0
"""A handler that holds the GIL past its deadline may return this late: its own process cannot act before."""


class Verdict(enum.Enum):
    """What to do about one worker process at one look."""

    BEAT = "beat"
    WAIT = "wait"
    """No beat now; it may still recover."""
    REPLACE = "replace"
    """It will not move again: end it, its jobs go back."""


def judge(
    *,
    is_stopped: bool,
    silent_seconds: float,
    running: Sequence[RunningHandler],
    now: float,
    heartbeat_seconds: float,
    lease_seconds: float,
) -> Verdict:
    """Return the verdict over a process; pure. `now` is on the time.monotonic() clock of the deadlines.

    `is_stopped`: it is suspended by a signal or a debugger. `silent_seconds`: since its tick last moved.
    """
    if not is_stopped and silent_seconds <= heartbeat_seconds:
        return Verdict.BEAT
    if not is_stopped and silent_seconds <= MOST_SILENT_SECONDS and _is_excused(running, now):
        return Verdict.BEAT
    return Verdict.REPLACE if silent_seconds > lease_seconds else Verdict.WAIT


def _is_excused(running: Sequence[RunningHandler], now: float) -> bool:
    return any(handler.deadline + DEADLINE_GRACE_SECONDS > now for handler in running)


class Pulse:
    """For how long the tick of one process has not moved. Owned by one thread."""

    def __init__(self, most_per_look_seconds: float) -> None:
        """A gap between two looks counts at most `most_per_look_seconds`.

        When the whole machine or process tree was suspended, the gap says nothing about the process.
        """
        self._most_per_look = most_per_look_seconds
        self._ticks = -1
        self._looked_at = math.inf
        self._silent_seconds = 0.0

    def look(self, ticks: int, now: float) -> float:
        """Return for how many seconds the tick has been the same."""
        if ticks == self._ticks:
            self._silent_seconds += min(max(now - self._looked_at, 0.0), self._most_per_look)
        else:
            self._silent_seconds = 0.0
        self._ticks, self._looked_at = ticks, now
        return self._silent_seconds


def process_state(pid: int) -> str:
    """Return the state letter of a process: "T" stopped by a signal, "t" held by a debugger; "" when it is gone.

    On systems without /proc a stopped process is asked for through waitid, and every other one is "R".
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _waited_state(pid)
    return stat[stat.rindex(b")") + 2 :][:1].decode("ascii")  # the name before it may hold blanks and brackets


def _waited_state(pid: int) -> str:
    if not hasattr(os, "waitid"):
        return "R"
    try:
        seen = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    return "R" if seen is None else "T"
