"""How a worker stops: an ordered list of steps, each bounded in time."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from wg_core._beater import Beater
from wg_core._executor import Executor, broken_off_outcome
from wg_core._slot import RaisedCancel
from wg_core.errors import BackendError
from wg_core.outcome import Release

if TYPE_CHECKING:
    from wg_core._runtime import Runtime

_log = logging.getLogger("wg.worker")

LOOK_SECONDS = 0.05
JOIN_SECONDS = 1.0
"""How long a duty that was asked to end is waited for; one that hangs in the store is left behind."""

REPORT_SECONDS = 5.0
"""How long the last outcomes may take to be reported after the handlers are over: the store may be away."""


class Shutdown:
    """Runs the steps of a stop, in this order.

    1. Stop fetching, so that nothing new comes in while the rest goes out.
    2. Give back what only waits, at once: other workers can run it while our handlers finish.
    3. Let running handlers finish, as long as shutdown_timeout (or a second request) allows.
    4. Break off those that still run: their jobs go back without using an attempt, and their threads are told.
    5. Report what is left, stuck jobs last: their handlers may run until the process is gone.
    6. Stop the upkeep; it must not outlive the worker, and nothing waits for it.
    7. Stop beating, last: without a lease everything above could be taken from us in the middle.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def run(self) -> None:
        """Stop the worker; returns within shutdown_timeout and a few seconds."""
        for step in (
            self._stop_fetching,
            self._give_back_waiting,
            self._let_handlers_finish,
            self._break_off_handlers,
            self._report_the_rest,
            self._stop_upkeep,
            self._stop_beating,
        ):
            try:
                step()
            except Exception:  # noqa: BLE001 - a step that fails must not keep the later ones from being done
                self._runtime.exit_code = self._runtime.exit_code or 1
                _log.exception("the worker failed while it stopped, going on")

    def _stop_fetching(self) -> None:
        fetcher = self._runtime.fetcher
        fetcher.stop()
        until = time.monotonic() + JOIN_SECONDS
        while not fetcher.join(LOOK_SECONDS) and time.monotonic() < until:
            self._runtime.backend.interrupt()  # another waiter on the same backend may have taken the first one

    def _give_back_waiting(self) -> None:
        for held in self._runtime.buffer.close():
            held.is_over = True
            self._runtime.reporter.submit(held, Release(id=held.job.id, lease_no=held.job.lease_no))

    def _let_handlers_finish(self) -> None:
        while (unfinished := self._unfinished()) and time.monotonic() < self._runtime.must_go_at:
            unfinished[0].join(LOOK_SECONDS)

    def _break_off_handlers(self) -> None:
        runtime = self._runtime
        runtime.crew.stopping.set()  # whoever is about to call a handler gives its job back instead
        until = time.monotonic() + JOIN_SECONDS
        while (unfinished := self._unfinished()) and time.monotonic() < until:
            for executor in unfinished:
                self._break_off(executor)
            unfinished[0].join(LOOK_SECONDS)

    def _break_off(self, executor: Executor) -> None:
        runtime, slot = self._runtime, executor.slot
        held = slot.running
        if held is None or not slot.give_up(held):
            return
        _log.warning("%s: the worker stops before its handler has ended", held)
        runtime.exit_code = runtime.exit_code or 1
        slot.raise_in_handler(RaisedCancel, held)
        runtime.settle(held, broken_off_outcome(slot, held))

    def _report_the_rest(self) -> None:
        runtime = self._runtime
        for held, outcome in runtime.stuck:
            runtime.settle(held, outcome)
        runtime.reporter.stop()
        if runtime.reporter.join(REPORT_SECONDS):
            return
        runtime.exit_code = runtime.exit_code or 1
        _log.error(
            "%d outcomes could not be reported, the store is away; the jobs will run again when the lease is over",
            runtime.reporter.unreported,
        )
        runtime.reporter.abandon()

    def _stop_upkeep(self) -> None:
        runtime = self._runtime
        services = [runtime.timeouts, *runtime.upkeep]
        for service in services:
            service.stop()
        until = time.monotonic() + JOIN_SECONDS
        for service in services:
            service.join(max(0.0, until - time.monotonic()))

    def _stop_beating(self) -> None:
        runtime = self._runtime
        runtime.keeper.stop()
        runtime.ticker.stop()
        runtime.ticker.join(JOIN_SECONDS)
        if isinstance(runtime.keeper, Beater):  # embedded: whoever joins the pool finds no thread of it left
            runtime.keeper.join(JOIN_SECONDS)
        if runtime.is_embedded and runtime.registered.is_set() and not runtime.lease.lost:
            self._retire()

    def _retire(self) -> None:
        """Leave the store nothing of this worker. A supervisor does it for its children."""
        runtime = self._runtime
        try:  # nothing crashed, so no attempt is used up
            runtime.backend.retire(runtime.lease.worker, (), "the worker stopped without reporting this job")
        except BackendError as error:
            _log.warning("worker %s could not sign off (%s); its lease ends by itself", runtime.lease.worker, error)

    def _unfinished(self) -> list[Executor]:
        return [one for one in self._runtime.executors if not one.slot.is_given_up and not one.join(0.0)]
