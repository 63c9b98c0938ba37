"""One worker from its first beat to its last: builds the duties and keeps a lease until it is asked to stop."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from functools import partial

from wg_core._beater import Beater, Ticker, new_worker_id, worker_info
from wg_core._buffer import JobBuffer
from wg_core._executor import Crew, Executor, stuck_outcome
from wg_core._fetcher import Fetcher
from wg_core._held import HeldJob, Lease
from wg_core._idle import IdleCheck
from wg_core._lease import REPLACE_ME, Board, LeaseKeeper, NoBoard
from wg_core._prefetch import Prefetch
from wg_core._promoter import Promoter
from wg_core._pruner import Pruner
from wg_core._reconciler import Reconciler
from wg_core._reporter import Reporter
from wg_core._rescuer import Rescuer
from wg_core._service import REJECTED_PAUSE_SECONDS, Service
from wg_core._shutdown import Shutdown
from wg_core._slot import Slot
from wg_core._store_watch import StoreWatch
from wg_core._timeouts import Grace, Timeouts
from wg_core.backend import Backend
from wg_core.errors import BackendError
from wg_core.handlers import HandlerRegistry
from wg_core.outcome import Outcome, TimeoutStep
from wg_core.protocol import Capability, WorkerNews
from wg_core.settings import WorkerSettings

_log = logging.getLogger("wg.worker")

BRIEF_SHARE = 0.25
"""Of the lease: an outage shorter than this ends no lease that is beaten for, so nobody is taken for dead over it."""

BURST_LOOK_SECONDS = 0.05
"""How often a worker in burst looks whether there is nothing left."""


class Runtime:
    """Everything behind a WorkerPool. `live` is the life of the worker, in a thread of its own."""

    def __init__(
        self,
        backend: Backend,
        registry: HandlerRegistry,
        settings: WorkerSettings,
        *,
        keeper: LeaseKeeper | None = None,
        board: Board | None = None,
        worker: str | None = None,
        grace: Grace | None = None,
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.store = StoreWatch(brief_seconds=BRIEF_SHARE * settings.lease)
        self.is_embedded = keeper is None
        self._made_in = os.getpid()
        self.lease = Lease(backend, worker or new_worker_id(), self.store)
        self.keeper = keeper or self._new_beater()
        self.registered = threading.Event()
        self.ended = threading.Event()
        self.failure: BackendError | None = None
        """Why the worker could not begin."""
        self.exit_code = 0
        self.stuck: list[tuple[HeldJob, Outcome | None]] = []
        """Jobs whose threads do not move and whose process will be replaced, and what to report of them."""
        # Shared. Plain attributes, each only ever set; _changed is set after them.
        self.must_go_at = math.inf
        """When the handlers that still run are broken off, on the time.monotonic() clock."""
        self._is_asked = False
        self._is_registering = False
        self._changed = threading.Event()
        self._build(registry, board or NoBoard(), grace)

    def _build(self, registry: HandlerRegistry, board: Board, grace: Grace | None) -> None:
        settings, backend, store = self.settings, self.backend, self.store
        self.buffer = JobBuffer()
        self.reporter = Reporter(settings.batch_size)
        self.reporter.on_answer = self.buffer.hungry
        self.timeouts = Timeouts(self._end_stuck, grace)
        self.crew = Crew(self.buffer, self.reporter, self.timeouts, registry, board)
        self.executors = [Executor(Slot(index), self.crew) for index in range(settings.threads)]
        self.timeouts.slots = [executor.slot for executor in self.executors]
        prefetch = Prefetch(lambda: self.timeouts.slots, settings.batch_size)
        self.fetcher = Fetcher(
            backend, settings, lambda: self.lease, buffer=self.buffer, reporter=self.reporter, prefetch=prefetch
        )
        self.ticker = Ticker(board, settings.heartbeat)
        self.upkeep = self._upkeep()
        self._idle = IdleCheck(backend, store, settings.queues, self.fetcher)

    def _upkeep(self) -> list[Service]:
        """The duties that keep the store in order, for all workers."""
        settings, backend, store = self.settings, self.backend, self.store
        interval = min(settings.scheduler_interval, settings.retrier_interval)
        promoter = Promoter(backend, store, interval_seconds=interval, batch_size=settings.batch_size)
        self.reporter.on_delay = promoter.expect
        duties: list[Service] = [
            promoter,
            Rescuer(
                backend,
                store,
                lambda: self.lease.worker,
                interval_seconds=settings.heartbeat,
                lease_seconds=settings.lease,
                batch_size=settings.batch_size,
            ),
            Reconciler(lambda: self.lease),
        ]
        if Capability.ALTER in backend.capabilities:
            duties.append(Pruner(backend, store))
        return duties

    def _new_beater(self) -> Beater:
        settings = self.settings
        return Beater(
            self.backend,
            self.store,
            self.lease.worker,
            lease=settings.lease,
            heartbeat=settings.heartbeat,
            info=worker_info(settings),
        )

    # ------------------------------------------------------------------ life

    def live(self) -> None:
        """Register, work until asked to stop, and shut down. Whatever happens, `ended` is set at the end."""
        try:
            if self.is_embedded and os.getpid() != self._made_in:  # forked since: each process is a worker of its own
                self._take_new_id()
            self._register()
            if not self._is_asked:
                self._work()
        except BackendError as error:
            self.failure = error
            _log.error("the store refused this worker: %s", error)
        except BaseException:  # noqa: BLE001 - the last line of defence of a thread
            self.exit_code = 1
            _log.critical("the worker failed, stopping", exc_info=True)
        finally:
            try:
                Shutdown(self).run()
            finally:
                self.ended.set()

    def ask_to_stop(self, *, now: bool = False) -> None:
        """Ask the worker to stop: running handlers may finish within shutdown_timeout, or not at all with `now`."""
        patience = 0.0 if now else self.settings.shutdown_timeout
        self.must_go_at = min(self.must_go_at, time.monotonic() + patience)
        self._is_asked = True
        if self._is_registering:
            self.keeper.stop()
        self._changed.set()

    def is_idle(self) -> bool:
        """Look whether nothing is left to do; True after two quiet looks in a row. For one thread."""
        return self._idle.look(self.lease.held_count or self.reporter.unreported)

    def idle_report(self) -> str:
        """Return what the last look saw, for people."""
        return self._idle.found

    def _register(self) -> None:
        """Start the beats. Blocks while the store is away, and `ask_to_stop` ends it."""
        self._is_registering = True  # before the look: whoever asks after it stops the keeper
        try:
            if not self._is_asked:
                self.keeper.start(partial(self._hear, self.lease))
        finally:
            self._is_registering = False
        if not self._is_asked:
            self.registered.set()

    def _work(self) -> None:
        for service in (self.reporter, self.timeouts, self.ticker, *self.upkeep, self.fetcher):
            service.start()
        for executor in self.executors:
            executor.start()
        while not self._is_asked:
            self._changed.wait(BURST_LOOK_SECONDS if self.settings.burst else None)
            self._changed.clear()
            if self.lease.lost and not self._is_asked:
                self._go_on_without_lease()
            elif self.settings.burst and self.is_idle():
                self.ask_to_stop()

    def _hear(self, lease: Lease, news: WorkerNews, _paused: frozenset[str]) -> None:
        """Take the news of a beat. Handlers read it from their jobs."""
        for job_id, lease_no in news.cancels:
            held = lease.find((job_id, lease_no))
            if held is not None:
                held.cancelled = True
        if news.lease_lost and not lease.lost:
            lease.lost = True
            _log.error(
                "worker %s lost its lease: its running jobs may run elsewhere, their ends do not count", lease.worker
            )
            self._changed.set()

    def _go_on_without_lease(self) -> None:
        """Gone is final for an id: embedded we go on under a new one, a supervisor starts a new process."""
        if not self.is_embedded:
            self.exit_code = REPLACE_ME
            self.ask_to_stop()
            return
        self._take_new_id()
        try:
            self._register()
        except BackendError as error:
            self.lease.lost = True
            _log.error("the store refused this worker, trying again: %s", error)
            self._changed.wait(REJECTED_PAUSE_SECONDS)
            self._changed.set()
        else:
            _log.warning("going on as worker %s", self.lease.worker)
            self.buffer.hungry.set()

    def _take_new_id(self) -> None:
        self.lease = Lease(self.backend, new_worker_id(), self.store)
        self.keeper = self._new_beater()

    # ------------------------------------------------------------------ stuck threads

    def _end_stuck(self, slot: Slot, held: HeldJob) -> None:
        """The third step of a timeout: from the thread of the timeouts duty."""
        if not slot.give_up(held):  # it moved at the last moment
            return
        reason = f"{held}: its handler does not end, {time.monotonic() - slot.deadline:.1f} s after its timeout"
        if self.keeper.replace_process(reason):
            _log.error("%s; this process stops and is replaced", reason)
            self.stuck.append((held, stuck_outcome(slot, held, TimeoutStep.REPLACED)))
            self.exit_code = REPLACE_ME
            self._is_asked = True  # without a limit: the siblings may finish, their own timeouts bound them
            self._changed.set()
            return
        _log.error("%s; its thread is given up and another takes its place", reason)
        outcome = stuck_outcome(slot, held, TimeoutStep.GIVEN_UP)
        self.settle(held, outcome)
        self._replace_thread(slot)

    def settle(self, held: HeldJob, outcome: Outcome | None) -> None:
        """Report a job that was taken from its thread."""
        if held.is_suspect:
            self.buffer.suspect_is_over()
        if outcome is None:
            held.lease.forget(held)
        else:
            self.reporter.submit(held, outcome)

    def _replace_thread(self, slot: Slot) -> None:
        executor = Executor(Slot(slot.index), self.crew)
        self.executors = [executor if one.slot is slot else one for one in self.executors]
        self.timeouts.slots = [one.slot for one in self.executors]
        executor.start()
