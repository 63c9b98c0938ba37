"""The entry of a worker process: `python -m wg_core._worker_process CHANNEL_FD BOARD_FD`, started by a supervisor.

Its main thread listens to the supervisor and to SIGTERM and does nothing else; the worker lives in other threads.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import selectors
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from typing import NoReturn

from wg_core import config
from wg_core._board import SharedBoard
from wg_core._channel import Bye, Channel, FromWorker, ImportFailed, News, Setup, Stop, ToWorker
from wg_core._child import STOP_MARGIN_SECONDS
from wg_core._piped_lease import PipedLease
from wg_core._runtime import Runtime
from wg_core._signals import Wakeup
from wg_core._stderr_log import log_to_stderr
from wg_core.backend import Backend
from wg_core.errors import BackendError
from wg_core.handlers import default_registry
from wg_core.registry import open_backend

_log = logging.getLogger("wg.worker")

IMPORT_FAILED = 5
LOST_GRACE_SECONDS = 5.0
"""How long handlers may go on after the lease was lost: their jobs run elsewhere, their outcomes are refused."""


class WorkerProcess:
    """One worker, kept and ended by its supervisor. All methods run in the main thread unless they say otherwise."""

    def __init__(self, setup: Setup, channel: Channel, board: SharedBoard, backend: Backend) -> None:
        self._setup = setup
        self._channel = channel
        self._wakeup = Wakeup()
        self._backend = backend
        settings = setup.settings
        self._lease = PipedLease(
            channel,
            backend,
            setup.worker,
            lease=settings.lease,
            heartbeat=settings.heartbeat,
            on_lease_lost=self._wakeup.wake,
        )
        self._runtime = Runtime(
            backend, default_registry, settings, keeper=self._lease, board=board, worker=setup.worker
        )
        self._was_terminated = False
        """Set by the handler of SIGTERM; the main loop acts on it."""
        self._is_stopping = False
        self._is_orphan = False
        self._break_off_at = math.inf
        """When what still runs is given back, on the time.monotonic() clock."""
        self._give_up_at = math.inf
        """When the process ends whatever still runs."""

    def run(self) -> int:
        """Work until the worker has ended; return the exit code of the process."""
        pool = threading.Thread(target=self._live, name="wg-pool", daemon=True)
        # A handler, unlike SIG_IGN, is not inherited by programs that jobs start.
        handlers = {signal.SIGTERM: self._terminate, signal.SIGINT: self._wakeup.ignore}
        with self._wakeup.on_signals(handlers), selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            pool.start()
            while not self._runtime.ended.is_set():
                self._turn(selector)
        exit_code = 1 if self._runtime.failure else self._runtime.exit_code
        self._channel.send(Bye(idle=not self._is_stopping, exit_code=exit_code))
        if self._is_orphan:
            self._sign_off()
        return exit_code

    def _live(self) -> None:
        """Run the worker. In a thread of its own."""
        try:
            self._runtime.live()
        finally:
            self._wakeup.wake()

    def _turn(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        next_limit = min(self._break_off_at, self._give_up_at)
        selector.select(None if next_limit == math.inf else max(0.0, next_limit - now))
        self._wakeup.clear()
        for message in self._channel.receive():
            self._take(message)
        if self._channel.is_closed and not self._is_orphan:
            selector.unregister(self._channel)
            self._lose_supervisor()
        if self._was_terminated and not self._is_stopping:
            self._stop("SIGTERM")
        if self._lease.is_lost and not self._is_stopping:
            self._stop("the lease was lost")
            self._break_off_at = time.monotonic() + LOST_GRACE_SECONDS
        self._keep_limits(time.monotonic())

    def _take(self, message: ToWorker | FromWorker) -> None:
        match message:
            case News():
                self._lease.heard(message)
            case Stop(now=now):
                self._stop("the supervisor stops")
                if now:
                    self._runtime.ask_to_stop(now=True)
            case _:
                _log.error("the supervisor sent %r", message)

    def _stop(self, why: str) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            _log.info("stopping: %s", why)
            self._runtime.ask_to_stop()

    def _lose_supervisor(self) -> None:
        """Beat for ourselves, finish what runs, and go; whatever happens, go."""
        _log.warning("the supervisor is gone: finishing what runs, then exiting")
        self._is_orphan = True
        self._stop("nobody would replace this process")
        self._lease.orphaned()  # after the stop: a worker that only now is let go must not begin
        self._give_up_at = time.monotonic() + self._setup.settings.shutdown_timeout + STOP_MARGIN_SECONDS

    def _keep_limits(self, now: float) -> None:
        if now >= self._break_off_at:
            self._break_off_at = math.inf
            self._runtime.ask_to_stop(now=True)
        if now >= self._give_up_at:
            _log.error("not everything ended in time, exiting; the jobs return when the lease is over")
            os._exit(1)

    def _sign_off(self) -> None:
        """Leave the store nothing of this worker, as the supervisor would have done."""
        try:
            self._backend.retire(self._setup.worker, (), "the supervisor died, the worker stopped")
        except BackendError as error:
            _log.warning("could not sign off (%s); the lease ends by itself", error)

    def _terminate(self, *_: object) -> None:
        self._was_terminated = True


def main(channel_fd: int, board_fd: int) -> int:
    """Live the life of one worker process; return its exit code."""
    channel = Channel(socket.socket(fileno=channel_fd))
    os.set_inheritable(channel_fd, False)  # programs that jobs start must not keep it open
    setup = _receive_setup(channel)
    if setup is None:
        return 1
    board = SharedBoard(board_fd, setup.settings.threads)
    os.close(board_fd)
    log_to_stderr(setup.log_level)
    # Before the modules: what they enqueue goes to the same store, unless they say otherwise.
    config.configure(url=setup.url, namespace=setup.namespace, **setup.options)
    if (failure := import_modules(setup.modules)) is not None:
        channel.send(ImportFailed(line=failure))
        return IMPORT_FAILED
    with open_backend(setup.url, namespace=setup.namespace, **setup.options) as backend:
        return WorkerProcess(setup, channel, board, backend).run()


def import_modules(modules: tuple[str, ...]) -> str | None:
    """Import the modules that define the handlers; return one line about the first that cannot be, else None.

    The current directory is importable, as for a script that lies in it.
    """
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    for name in modules:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a module of the user's raises
            _log.debug("cannot import %r", name, exc_info=True)
            return f"cannot import {name!r}: {_in_one_line(error)}"
    return None


def _in_one_line(error: BaseException) -> str:
    """Return what was raised, and the last line of code that is neither ours nor a library's."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(": ")
    foreign = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), "<", __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(foreign)]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _receive_setup(channel: Channel) -> Setup | None:
    """Wait for the first message; None when the supervisor died before it was sent."""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while not channel.is_closed:
            selector.select()
            for message in channel.receive():
                if isinstance(message, Setup):
                    return message
    return None


def _end(code: int) -> NoReturn:
    """End the process. After an unclean end threads may hang in handlers, and would hang the interpreter's exit."""
    if code == 0:
        sys.exit(0)
    with contextlib.suppress(Exception):
        logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    _end(main(int(sys.argv[1]), int(sys.argv[2])))
