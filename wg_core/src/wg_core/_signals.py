"""Waking a main loop that waits in `select`: from any thread, and from signal handlers."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], Any]


class Wakeup:
    """A pair of sockets: `wake` writes a byte, the loop waits until it can read one."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._reader.fileno()

    def wake(self, *_: object) -> None:
        """End the current wait, or the next. From any thread; never blocks."""
        with contextlib.suppress(OSError):  # full: the loop will wake anyway; closed: there is no loop any more
            self._writer.send(b"\0")

    def ignore(self, *_: object) -> None:
        """A handler for signals of which only the wake-up matters."""

    def clear(self) -> None:
        """Forget the wakes so far. Call it before looking at what they may have been for."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4_096):
                pass

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self._reader.close()
        self._writer.close()

    @contextlib.contextmanager
    def on_signals(self, handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
        """Install the handlers, and be woken by every signal, while the block runs.

        Handlers must only set plain attributes: they run between two bytecodes of the main thread, which may hold
        any lock. Outside the main thread nothing is installed, because Python has no way to.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # The byte is written by the C-level handler, so the loop wakes even when `select` is restarted (PEP 475).
        before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(before_fd)
