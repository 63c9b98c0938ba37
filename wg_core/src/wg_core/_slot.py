"""The place of one executor thread: what it runs, and the guard that keeps exceptions from outside inside handlers.

`PyThreadState_SetAsyncExc` makes the interpreter raise an exception in another thread at some later bytecode. The
guard gives two promises: such an exception is only asked for while the thread is inside its handler, and one that
comes late is caught or cleared before the thread leaves the guard. Worker code outside never sees one.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from wg_core._held import HeldJob
from wg_core.errors import JobCancelled, JobTimeout

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int
_NOTHING = ctypes.py_object()
"""A NULL: clears an exception that was asked for and not raised yet."""


class RaisedTimeout(JobTimeout):
    """The second step of a timeout; the interpreter makes the instance, so the text is here."""

    def __init__(self) -> None:
        super().__init__("the time of this job is over")


class RaisedCancel(JobCancelled):
    """Raised in a handler that still runs when its worker must stop."""

    def __init__(self) -> None:
        super().__init__("the worker stops and gives this job back")


class Slot:
    """What one executor thread is doing. Any thread may read; who may write stands with each group."""

    def __init__(self, index: int) -> None:
        self.index = index
        # Only the executor thread writes these.
        self.thread_id = 0
        self.ended = 0
        """Handlers that ended here, ever."""
        self.busy_seconds = 0.0
        """Time in handlers that ended, ever."""
        self.busy_since: float | None = None
        """When the running handler began, on the time.monotonic() clock."""
        # The executor sets it when a handler begins, then only the timeouts duty writes.
        self.deadline = math.inf
        # Shared, under _lock.
        self._lock = threading.Lock()
        self._inside: HeldJob | None = None
        self.has_raised = False
        """Whether an exception was asked for during the current or last handler."""
        self.is_given_up = False
        """Somebody else reported the running job: the thread's own result counts no more, and it ends after it."""

    @property
    def running(self) -> HeldJob | None:
        """The job whose handler runs now."""
        return self._inside

    def guard(self, held: HeldJob, deadline: float, call: Callable[..., Any], *args: Any) -> BaseException | None:
        """Run `call` as the handler of the job and return what it raised, or None. In the executor thread only."""
        error: BaseException | None = None
        is_called = is_over = False
        while True:
            try:
                if not is_called:
                    is_called = True
                    self._enter(held, deadline)
                    call(*args)
                    is_over = True
                self._leave()
            except BaseException as raised:  # noqa: BLE001 - SystemExit of a handler is the handler's failure
                if not is_over:  # else it was asked for too late: the handler had returned
                    error, is_over = raised, True
            else:
                return error

    def raise_in_handler(self, error_type: type[BaseException], held: HeldJob) -> bool:
        """Ask for an exception in the thread; False when the handler of the job is not running any more.

        It is raised at the thread's next bytecode, so not while it waits in a blocking call.
        """
        with self._lock:
            if self._inside is not held:
                return False
            self.has_raised = True
            _set_async_exc(self.thread_id, error_type)
            return True

    def give_up(self, held: HeldJob) -> bool:
        """Take the running job from the thread; True for exactly one caller, who must report it."""
        with self._lock:
            if self._inside is not held or self.is_given_up:
                return False
            self.is_given_up = held.is_over = True
            return True

    def _enter(self, held: HeldJob, deadline: float) -> None:
        with self._lock:
            self.has_raised = False
            self.deadline = deadline
            self.busy_since = time.monotonic()
            self._inside = held

    def _leave(self) -> None:
        with self._lock:
            self._inside = None  # from here on nobody asks for an exception any more
            if self.has_raised:
                _set_async_exc(self.thread_id, _NOTHING)
        if self.busy_since is not None:
            self.busy_seconds += time.monotonic() - self.busy_since
            self.busy_since = None
            self.ended += 1
