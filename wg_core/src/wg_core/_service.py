"""A duty in a thread of its own: `run_once` again and again until it is asked to stop."""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod

from wg_core.backoff import draw, pause_after
from wg_core.errors import BackendError, BackendRejectedError

_log = logging.getLogger("wg.worker")

FOREVER = math.inf
"""Pause until somebody calls `wake`."""

REJECTED_PAUSE_SECONDS = 10.0
"""A refusal (rights, schema) will not pass by itself, but a person may mend it while the worker runs."""


class Service(ABC):
    """One duty. Tests call `run_once` alone; the worker calls `start`, then `stop` (asks) and `join` (waits).

    An error from `run_once` is never the end of the thread: the loop goes on after a pause that grows with each
    failure in a row. Errors of the store are logged by `StoreWatch`, once for all duties; others here.
    """

    name: str

    def __init__(self) -> None:
        self._wakened = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0  # only the duty's own thread

    @abstractmethod
    def run_once(self) -> float:
        """Do the duty once and return for how many seconds to pause (FOREVER: until `wake`)."""

    def start(self) -> None:
        """Start the thread; once."""
        self._thread = threading.Thread(target=self._live, name=f"wg-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the duty to end after what it is doing now."""
        self._stopping.set()
        self.wake()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the thread to end; False when it has not within the time. True when it was never started."""
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Cut the current (or next) pause short."""
        if not self._wakened.is_set():  # a set costs ten times a look, and this is called once per job
            self._wakened.set()

    @property
    def is_stopping(self) -> bool:
        """Whether the duty was asked to end."""
        return self._stopping.is_set()

    def _live(self) -> None:
        try:
            while not self._is_done():
                self._pause(self._run_guarded())
        except BaseException:
            _log.critical("%s died; the worker is not whole any more", self.name, exc_info=True)
            raise

    def _run_guarded(self) -> float:
        try:
            pause = self.run_once()
        except BackendRejectedError as refusal:
            self._failures += 1
            _log.error("%s: the store refused: %s", self.name, refusal)
            return REJECTED_PAUSE_SECONDS
        except BackendError:
            self._failures += 1
        except Exception:  # noqa: BLE001 - a duty goes on whatever happened
            self._failures += 1
            _log.exception("%s failed, going on", self.name)
        else:
            self._failures = 0
            return pause
        return pause_after(self._failures, draw())

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._wakened.wait(None if seconds == FOREVER else seconds)
        self._wakened.clear()

    def _is_done(self) -> bool:
        """Whether the thread may end; by default as soon as it was asked to."""
        return self.is_stopping
