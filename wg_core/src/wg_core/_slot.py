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
ASKER_LOOK_SECONDS = 0.001
"""An asker is done within microseconds, unless it has lost the interpreter in the middle."""

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
        # Shared. The executor writes _inside, askers the others; who leaves a handler first clears _inside and then
        # looks at _is_asked, an asker does both the other way round, so one of them always sees the other.
        self._lock = threading.Lock()  # among askers; the executor takes none, it could be hit while it holds it
        self._inside: HeldJob | None = None
        self._is_asked = False
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
        try:
            self._enter(held, deadline)
            call(*args)
        except BaseException as raised:  # noqa: BLE001 - SystemExit of a handler is the handler's failure
            error = raised
        # The interpreter looks for exceptions from outside at calls and at jumps back. There is none between the
        # block above and this line, so the door is shut before another one can come.
        self._inside = None
        # Two may still be on their way: one that was not raised yet, and that of an asker who looked before.
        try:
            try:
                self._leave()
            except BaseException:  # noqa: BLE001 - too late: the handler is over
                self._leave()
        except BaseException:  # noqa: BLE001 - too late: the handler is over
            self._leave()
        return error

    def raise_in_handler(self, error_type: type[BaseException], held: HeldJob) -> bool:
        """Ask for an exception in the thread; False when the handler of the job is not running any more.

        It is raised at the thread's next bytecode, so not while it waits in a blocking call.
        """
        with self._lock:
            self._is_asked = True  # before the look
            try:
                if self._inside is not held:
                    return False
                self.has_raised = True
                _set_async_exc(self.thread_id, error_type)
                return True
            finally:
                self._is_asked = False

    def give_up(self, held: HeldJob) -> bool:
        """Take the running job from the thread; True for exactly one caller, who must report it."""
        with self._lock:
            self._is_asked = True  # before the look
            try:
                if self._inside is not held or self.is_given_up:
                    return False
                self.is_given_up = held.is_over = True
                return True
            finally:
                self._is_asked = False

    def _enter(self, held: HeldJob, deadline: float) -> None:
        self.has_raised = False
        self.deadline = deadline
        self.busy_since = time.monotonic()
        self._inside = held  # last: from here on it may be asked for

    def _leave(self) -> None:
        """Wait for an asker who saw the handler run, and drop what was asked for; may be broken off and repeated."""
        while self._is_asked:
            threading.Event().wait(ASKER_LOOK_SECONDS)
        if self.has_raised:
            _set_async_exc(self.thread_id, _NOTHING)
        if self.busy_since is not None:
            self.busy_seconds += time.monotonic() - self.busy_since
            self.busy_since = None
            self.ended += 1
