"""WorkerPool: runs jobs in threads of this process."""

from __future__ import annotations

import select
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any, Self

from wg_core import config
from wg_core._lease import Board, LeaseKeeper
from wg_core._runtime import Runtime
from wg_core._signals import Wakeup
from wg_core._timeouts import Grace
from wg_core.backend import Backend
from wg_core.client import Client
from wg_core.errors import ConfigError, WgError
from wg_core.handlers import HandlerRegistry, JobFunction, default_registry
from wg_core.settings import Seconds, WorkerSettings, to_seconds

START_PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.1
IDLE_LOOK_SECONDS = 0.01


class NotIdleError(WgError, TimeoutError):
    """`run_until_idle` ran out of time; the message says what was left."""


class WorkerPool:
    """Runs jobs in threads of this process: the runtime of `wg worker` without a supervisor, for embedding and tests.

    ::

        pool = WorkerPool(url="redis://localhost:6379", threads=8)     # handlers: everything declared with @job
        pool.run()                                                     # until SIGTERM, SIGINT or stop()

        with WorkerPool(url="memory:", handlers=[send_email]) as pool:
            send_email.enqueue("ada@example.com", subject="Hello")
            pool.run_until_idle(timeout=5)

    `url` and `namespace` default to what `configure` or the environment says; `backend` is an open one instead,
    which stays open. Other keywords are those of `WorkerSettings`. A pool lives once: start, stop, join.

    Threads of the pool are daemons, and it leaves the signals of its host alone except in `run`. A handler that
    holds the GIL for longer than `lease` starves the beats: only `wg worker` can promise more. A thread whose
    handler does not end after its timeout is given up and replaced.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        namespace: str | None = None,
        backend: Backend | None = None,
        handlers: Iterable[JobFunction[..., Any]] | None = None,
        settings: WorkerSettings | None = None,
        _lease_keeper: LeaseKeeper | None = None,
        _board: Board | None = None,
        _worker_id: str | None = None,
        _grace: Grace | None = None,
        **setting_keywords: Any,
    ) -> None:
        """Raise ConfigError for settings, handlers or a URL that cannot work; no I/O."""
        if backend is not None and (url is not None or namespace is not None):
            raise ConfigError("give WorkerPool either a backend or a url and namespace, not both")
        checked = WorkerSettings.of(**setting_keywords) if settings is None else settings.with_changes(setting_keywords)
        registry = default_registry if handlers is None else HandlerRegistry.of(handlers)
        self._owns_backend = backend is None
        self._backend = config.open_configured_backend(url, namespace) if backend is None else backend
        self._runtime = Runtime(
            self._backend,
            registry,
            checked,
            keeper=_lease_keeper,
            board=_board,
            worker=_worker_id,
            grace=_grace,
        )
        self._thread: threading.Thread | None = None  # made at the start: one made before a fork is spoilt by it
        self._is_asked = False
        self._block = ExitStack()

    @property
    def worker_id(self) -> str:
        """The id under which the pool works now; a new one after the lease was lost."""
        return self._runtime.lease.worker

    @property
    def stopped(self) -> bool:
        """Whether the pool has ended."""
        return self._runtime.ended.is_set()

    @property
    def exit_code(self) -> int:
        """0 when it ended cleanly, 1 when something had to be broken off, 75 when its process must be replaced."""
        return self._runtime.exit_code

    def run(self) -> int:
        """Work until stopped; returns the exit code. Blocks.

        In the main thread SIGTERM and SIGINT stop the pool, a second one at once; the handlers of the host are
        restored. Raises what the store said when it refused the worker at the start.
        """
        signals: list[int] = []

        def note(number: int, _frame: FrameType | None) -> None:
            signals.append(number)

        wakeup = Wakeup()
        try:
            with wakeup.on_signals({signal.SIGTERM: note, signal.SIGINT: note}):
                self._begin()
                heard = 0
                while not self.join(0.0):
                    select.select([wakeup], [], [], LOOK_SECONDS)
                    wakeup.clear()
                    while heard < len(signals):
                        heard += 1
                        self.stop()
        finally:
            wakeup.close()
        self._raise_failure()
        return self.exit_code

    def start(self) -> None:
        """Start working in the background and return, once the worker is registered or the store found to be away.

        Raises what the store said when it refuses the worker (rights, schema).
        """
        self._begin()
        until = time.monotonic() + START_PATIENCE_SECONDS
        while not self._runtime.registered.wait(LOOK_SECONDS) and time.monotonic() < until and not self.stopped:
            pass
        self._raise_failure()

    def stop(self, *, now: bool = False) -> None:
        """Ask the pool to stop, and return; `join` waits.

        Running handlers may finish within shutdown_timeout. With `now`, or when asked a second time, they are broken
        off at once: their jobs go back without using an attempt.
        """
        now = now or self._is_asked
        self._is_asked = True
        self._runtime.ask_to_stop(now=now)

    def join(self, timeout: Seconds | None = None) -> bool:
        """Wait for the pool to end; False when it has not within the time. True when it was never started."""
        if self._thread is None:
            return True
        self._thread.join(None if timeout is None else to_seconds("timeout", timeout))
        return not self._thread.is_alive()

    def run_until_idle(self, timeout: Seconds = 30.0) -> None:
        """Work until the queues hold no ready, due or running job, whichever worker runs it; blocks.

        Jobs that are scheduled or retry later do not count, nor do those of paused queues. A pool that was not
        started is started for this and stopped at the end. Raises NotIdleError, a TimeoutError, when time is up.
        """
        if self._thread is not None:
            self._wait_until_idle(to_seconds("timeout", timeout))
            return
        self.start()
        try:
            self._wait_until_idle(to_seconds("timeout", timeout))
        finally:
            self._end()

    def __enter__(self) -> Self:
        """Start; while the block runs, `some_job.enqueue(...)` goes to the store of this pool, in all threads."""
        self._block.enter_context(config.use(Client(self._backend)))
        try:
            self.start()
        except BaseException:
            self._block.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and wait; at most shutdown_timeout and a few seconds."""
        self._block.close()
        self._end()

    def _begin(self) -> None:
        if self._thread is not None:
            raise WgError("this WorkerPool was started before; make another one")
        self._thread = threading.Thread(target=self._live, name="wg-pool", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        try:
            self._runtime.live()
        finally:
            if self._owns_backend:
                self._backend.close()

    def _end(self) -> None:
        if not self._is_asked:  # a second request would not let the handlers finish
            self.stop()
        self.join()

    def _wait_until_idle(self, timeout_seconds: float) -> None:
        until = time.monotonic() + timeout_seconds
        while not self._runtime.is_idle():
            if self.stopped or time.monotonic() >= until:
                why = "the pool has stopped" if self.stopped else f"not idle after {timeout_seconds} s"
                raise NotIdleError(f"{why}: {self._runtime.idle_report()}")
            self._runtime.ended.wait(IDLE_LOOK_SECONDS)

    def _raise_failure(self) -> None:
        if self._runtime.failure is not None:
            raise self._runtime.failure
