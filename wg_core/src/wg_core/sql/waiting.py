"""Waiting for work: the interface, and a waiter that polls, for stores that cannot call."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

from wg_core.errors import BackendError, BackendUnavailableError

SHORTEST_PAUSE = 0.001
LONGEST_PAUSE = 0.02
"""Seconds between two looks by default. Waking up costs more than a look at a file."""
_GROWTH = 1.25
_ERROR_PAUSE = 1.0

Queues = Sequence[str] | None
"""None: every queue."""


class Waiter(ABC):
    """How one backend instance waits. `wait` may be called from several threads, the others from any thread."""

    @abstractmethod
    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """See `Backend.wait`."""

    @abstractmethod
    def interrupt(self) -> None:
        """See `Backend.interrupt`."""

    @abstractmethod
    def notify(self, queues: Collection[str]) -> None:
        """Jobs became ready in these queues through this instance, and are committed: wake who waits for them."""

    @abstractmethod
    def close(self) -> None:
        """Wake every waiter of this instance for good."""

    @abstractmethod
    def forget(self) -> None:
        """Start afresh in the child of a fork: inherited locks may be held by threads that are not here."""


class Bell:
    """Wakes waiters within one process, shared by the instances on one store."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.rings = 0

    def ring(self) -> None:
        """Wake everybody who waits."""
        with self.changed:
            self.rings += 1
            self.changed.notify_all()


class PollingWaiter(Waiter):
    """Looks whether there is a ready job, now and then, and hears at once what this process writes.

    `has_ready(queues)` asks the store. `version()` is something cheaper that differs after every commit of anybody:
    with it the store is asked only when something was written. The pauses (seconds) between two looks are short after
    work, and grow to the longest when nothing happens; `polls=False`: nobody but this process writes, so only its
    bell is listened to.
    """

    def __init__(
        self,
        bell: Callable[[], Bell],
        has_ready: Callable[[Queues], bool],
        version: Callable[[], int] | None = None,
        *,
        polls: bool = True,
        shortest_pause: float = SHORTEST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._find_bell = bell
        self._bell = bell()
        self._has_ready = has_ready
        self._version = version
        self._polls = polls
        self._shortest_pause = shortest_pause
        self._longest_pause = longest_pause
        self._interrupted = False
        self._closed = False

    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """Return when a job may be ready, at the timeout, or when interrupted."""
        if self._closed:
            raise BackendUnavailableError("this backend was closed; open another one")
        deadline = time.monotonic() + timeout_seconds
        try:
            self._poll(queues, deadline)
        except BackendError:
            self._pause(self._bell.rings, min(_ERROR_PAUSE, deadline - time.monotonic()))
        with self._bell.changed:
            self._interrupted = False

    def _poll(self, queues: Queues, deadline: float) -> None:
        pause = self._shortest_pause
        heard: tuple[int, int] | None = None
        while not (self._interrupted or self._closed):
            news = (self._bell.rings, self._version() if self._version else 0)
            if self._is_news(news, heard) and self._has_ready(queues):
                return
            heard = news
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._pause(news[0], min(pause, remaining) if self._polls else remaining)
            pause = min(pause * _GROWTH, self._longest_pause)

    def _is_news(self, news: tuple[int, int], heard: tuple[int, int] | None) -> bool:
        """Whether a look may find something; without a version every look may."""
        return news != heard or (self._polls and self._version is None)

    def _pause(self, rings: int, seconds: float) -> None:
        with self._bell.changed:
            if self._bell.rings == rings and not (self._interrupted or self._closed):
                self._bell.changed.wait(max(0.0, seconds))

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""
        with self._bell.changed:
            self._interrupted = True
            self._bell.changed.notify_all()

    def notify(self, queues: Collection[str]) -> None:
        """Wake the waiters of this process; others notice the new version."""
        self._bell.ring()

    def close(self) -> None:
        """End every wait, also later ones."""
        with self._bell.changed:
            self._closed = True
            self._bell.changed.notify_all()

    def forget(self) -> None:
        """Use the bell of the child."""
        self._bell = self._find_bell()
        self._interrupted = False
