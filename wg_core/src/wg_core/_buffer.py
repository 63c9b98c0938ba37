"""The jobs between fetcher and executors, and who may take which."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from wg_core._held import HeldJob


class JobBuffer:
    """Jobs that were reserved and not started; thread-safe.

    `take` is the hot path: a pop without a lock while there is work. Suspects (jobs under which a worker died) wait
    apart and are handed out one at a time, so that a job that kills its process takes at most itself and one
    innocent suspect along.
    """

    def __init__(self) -> None:
        self.hungry = threading.Event()
        """Set when the fetcher should look whether it may fetch."""
        self.low_mark = 0
        """With this many jobs left, `take` sets `hungry`. Only the fetcher writes it."""
        self._ready: deque[HeldJob] = deque()
        self._changed = threading.Condition(threading.Lock())
        # Shared, under _changed.
        self._suspects: deque[HeldJob] = deque()
        self._suspect_since: float | None = None
        self._idle = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread, suspects apart."""
        return len(self._ready)

    @property
    def suspects_waiting(self) -> int:
        """How many suspects wait for their turn."""
        return len(self._suspects)

    @property
    def idle(self) -> int:
        """How many threads wait for a job."""
        return self._idle

    def suspect_runs_for(self) -> float | None:
        """Return for how many seconds a suspect has been running; None when none is."""
        since = self._suspect_since
        return None if since is None else time.monotonic() - since

    def put(self, jobs: Sequence[HeldJob]) -> bool:
        """Hand jobs to the threads, in order; False (and nothing taken) when the buffer is closed."""
        with self._changed:
            if self._closed:
                return False
            for held in jobs:
                (self._suspects if held.is_suspect else self._ready).append(held)
            self._changed.notify(min(len(jobs), self._idle))
            return True

    def take(self) -> HeldJob | None:
        """Block until there is a job for the calling thread; None when the buffer is closed."""
        if self._suspects:  # the only reason to go the slow way while there is work
            return self._take_carefully()
        try:
            held = self._ready.popleft()
        except IndexError:
            return self._take_carefully()
        if len(self._ready) <= self.low_mark and not self.hungry.is_set():
            self.hungry.set()
        return held

    def suspect_is_over(self) -> None:
        """The handler of a suspect ended: the next one may run."""
        with self._changed:
            self._suspect_since = None
            self._changed.notify()

    def remove(self, count: int) -> list[HeldJob]:
        """Take back up to `count` jobs that are no suspects, those that would have run last."""
        with self._changed:
            return _pop_last(self._ready, count)

    def remove_suspects(self, count: int) -> list[HeldJob]:
        """Take back up to `count` suspects, those that would have run last."""
        with self._changed:
            return _pop_last(self._suspects, count)

    def close(self) -> list[HeldJob]:
        """Hand out nothing more, end every `take` with None, and return the jobs that were waiting."""
        with self._changed:
            self._closed = True
            left = _pop_last(self._ready, len(self._ready)) + _pop_last(self._suspects, len(self._suspects))
            self._changed.notify_all()
            return left

    def _take_carefully(self) -> HeldJob | None:
        with self._changed:
            while True:
                held = self._next()
                if held is not None:
                    self.hungry.set()
                    return held
                if self._closed:
                    return None
                self._idle += 1
                self.hungry.set()
                self._changed.wait()
                self._idle -= 1

    def _next(self) -> HeldJob | None:
        if self._suspects and self._suspect_since is None:
            self._suspect_since = time.monotonic()
            return self._suspects.popleft()
        try:
            return self._ready.popleft()
        except IndexError:
            return None


def _pop_last(jobs: deque[HeldJob], count: int) -> list[HeldJob]:
    """Threads pop from the other end without the lock, so the deque may run dry at any moment."""
    popped: list[HeldJob] = []
    try:
        while len(popped) < count:
            popped.append(jobs.pop())
    except IndexError:
        pass
    return popped
