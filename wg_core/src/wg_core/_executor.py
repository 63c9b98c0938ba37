"""Runs handlers: one executor is one thread, which works on one job at a time."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

import msgspec

from wg_core._buffer import JobBuffer
from wg_core._failure import error_message, error_name
from wg_core._held import HeldJob
from wg_core._lease import Board
from wg_core._reporter import Reporter
from wg_core._slot import Slot
from wg_core._timeouts import Timeouts
from wg_core.backoff import MOST_BOUNCES, bounce_delay, draw
from wg_core.context import CurrentJob, enter_job
from wg_core.envelope import Envelope, NewerEnvelopeError, decode_envelope
from wg_core.errors import JobTimeout, PayloadError, UnknownJobError, WgError
from wg_core.outcome import (
    Ack,
    Applied,
    Bury,
    Cancel,
    CountsAs,
    Ending,
    Outcome,
    Release,
    Retry,
    TimeoutStep,
    decide,
    decide_unfinished,
    record_of,
)

if TYPE_CHECKING:
    from wg_core.handlers import HandlerRegistry, JobFunction

_log = logging.getLogger("wg.worker")

ANSWER_LOOK_SECONDS = 0.5
"""How often a thread that waits for the answer to a Start looks whether the worker stops."""


TELL_AGAIN_SECONDS = 60.0
"""How often the log says of one job name that its jobs cannot run here."""

MOST_TOLD = 1_000
"""So many names are remembered for that."""


class _Process:
    """The process this is; the kernel is asked once and after each fork, not once a job."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def has_forked(self) -> None:
        """This is the child of a fork."""
        self.pid = os.getpid()


_process = _Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.has_forked)


class Crew:
    """What all executors of a pool share; set once."""

    def __init__(
        self, buffer: JobBuffer, reporter: Reporter, timeouts: Timeouts, registry: HandlerRegistry, board: Board
    ) -> None:
        self.buffer = buffer
        self.reporter = reporter
        self.timeouts = timeouts
        self.registry = registry
        self.board = board
        self.stopping = threading.Event()
        """No handler may begin any more."""
        self._told: dict[str, float] = {}

    def is_news(self, name: str) -> bool:
        """Whether nobody was told for a minute that jobs of this name cannot run here; from now on they were."""
        now = time.monotonic()
        if now < self._told.get(name, -math.inf) + TELL_AGAIN_SECONDS:
            return False
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[name] = now
        return True


class Executor:
    """The thread of one slot. It survives everything that a handler does, SystemExit included."""

    def __init__(self, slot: Slot, crew: Crew) -> None:
        self.slot = slot
        self._crew = crew
        self._pid = _process.pid
        self._thread: threading.Thread | None = None  # made at the start: one made before a fork is spoilt by it

    def start(self) -> None:
        """Start the thread; once."""
        self._pid = _process.pid
        self._thread = threading.Thread(target=self._live, name=f"wg-executor-{self.slot.index}", daemon=True)
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; False when it has not within the time. True when it was never started."""
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def run(self, held: HeldJob) -> None:
        """Work on one job to its end and hand in its outcome, if it still has one to hand in."""
        try:
            outcome = self._attempt(held)
        except BaseException as error:  # noqa: BLE001 - ours: those of a handler are caught where it is called
            _log.exception("%s: the worker itself failed", held)
            outcome = decide(held.job, error, _ending(held, time.monotonic(), Envelope(v=1)), chance=draw())
        if held.is_over:  # somebody else took the job from this thread and reports it
            return
        held.is_over = True
        if held.is_suspect:
            self._crew.buffer.suspect_is_over()
        if outcome is None:
            held.lease.forget(held)
        else:
            self._crew.reporter.submit(held, outcome)

    def _live(self) -> None:
        self.slot.thread_id = threading.get_ident()
        try:
            while not self.slot.is_given_up:
                held = self._crew.buffer.take()
                if held is None:
                    return
                self.run(held)
        except BaseException:
            _log.critical("executor %d died; the worker is not whole any more", self.slot.index, exc_info=True)
            raise

    def _attempt(self, held: HeldJob) -> Outcome | None:
        """Everything from taking the job to the decision about it; None when it is not ours any more."""
        if held.lease.lost:
            return None
        if held.cancelled or self._crew.stopping.is_set():
            return _not_begun(held)
        try:
            envelope, handler = self._find_handler(held)
        except (NewerEnvelopeError, UnknownJobError) as error:
            return self._bounce(held, error)
        except PayloadError as error:
            return _bury(held, error)
        if held.must_announce:
            answer = self._announce(held)
            if answer is not Applied.APPLIED or self._crew.stopping.is_set():
                return None if answer is Applied.LOST else _not_begun(held)
        return self._run_handler(held, envelope, handler)

    def _find_handler(self, held: HeldJob) -> tuple[Envelope, JobFunction[..., Any]]:
        envelope = decode_envelope(held.job.body)
        handler = self._crew.registry.find(held.job.name)
        if handler is None:
            raise UnknownJobError(f"no handler named {held.job.name!r} in this worker")
        return envelope, handler

    def _bounce(self, held: HeldJob, error: WgError) -> Outcome:
        """Leave a job that this worker cannot run to others, a bounded number of times (rolling deploys)."""
        job = held.job
        if job.bounces >= MOST_BOUNCES:
            return _bury(held, UnknownJobError(f"{error}; given back {job.bounces} times, and no worker could run it"))
        delay = bounce_delay(job.bounces, draw())
        level = logging.WARNING if self._crew.is_news(job.name) else logging.DEBUG  # thousands may be waiting
        _log.log(level, "%s: %s; given back for another worker, next try in %.1f s", held, error, delay)
        return Release(id=job.id, lease_no=job.lease_no, delay_seconds=delay, counts_as=CountsAs.BOUNCE)

    def _announce(self, held: HeldJob) -> Applied | None:
        """Report the Start and wait for the answer, however long the store is away; None when the worker stops."""
        announcement = self._crew.reporter.announce(held)
        while True:
            answer = announcement.wait(ANSWER_LOOK_SECONDS)
            if answer is not None:
                return answer
            if self._crew.stopping.is_set():
                return None

    def _run_handler(self, held: HeldJob, envelope: Envelope, handler: JobFunction[..., Any]) -> Outcome | None:
        crew, slot, job = self._crew, self.slot, held.job
        started = time.monotonic()
        deadline = None if envelope.timeout is None else started + envelope.timeout
        current = CurrentJob(held, deadline, crew.reporter.submit_progress)
        crew.board.started(slot.index, job.id, job.lease_no, deadline)
        guard_until = math.inf if deadline is None else deadline
        error = slot.guard(held, guard_until, Context().run, _call, crew.timeouts, current, handler, envelope.args)
        if _process.pid != self._pid:
            os._exit(0)  # the handler forked and this is the child: it must not go on as a second worker
        if slot.is_given_up:  # somebody else reports the job; the board shows it until the process is gone
            _log.warning("%s: its handler ended after it was given up; what it returned does not count", held)
            return None
        crew.board.ended(slot.index)
        if error is None:  # what `decide` would say, without the times and the chance that only failures need
            return None if held.lease.lost else Ack(id=job.id, lease_no=job.lease_no)
        outcome = decide(job, error, _ending(held, started, envelope, _step(slot, error)), chance=draw())
        _log_failure(held, error, outcome)
        # It refers to this frame and back: a cycle that would keep alive whatever the handler used.
        error.__traceback__ = None
        return outcome


def _call(timeouts: Timeouts, current: CurrentJob, handler: JobFunction[..., Any], args: msgspec.Raw) -> None:
    """Run the handler, in a fresh context and inside the guard."""
    if current.deadline is not None:
        timeouts.expect(current.deadline)
    enter_job(current)
    handler.run(args)


def _step(slot: Slot, error: BaseException) -> TimeoutStep | None:
    if slot.has_raised:
        return TimeoutStep.RAISED
    return TimeoutStep.COOPERATIVE if isinstance(error, JobTimeout) else None


def _ending(held: HeldJob, started: float, envelope: Envelope, step: TimeoutStep | None = None) -> Ending:
    now = time.time()
    return Ending(
        worker=held.lease.worker,
        started_at=int((now - (time.monotonic() - started)) * 1_000),
        ended_at=int(now * 1_000),
        retry_delay=envelope.retry_delay,
        timeout=envelope.timeout,
        timeout_step=step,
        cancelled=held.cancelled,
        lease_lost=held.lease.lost,
    )


def stuck_outcome(slot: Slot, held: HeldJob, step: TimeoutStep) -> Outcome | None:
    """Return what to report of a handler whose time is over and whose thread does not move."""
    error = JobTimeout("the handler did not end")
    return decide(held.job, error, _running_ending(slot, held, step), chance=draw())


def broken_off_outcome(slot: Slot, held: HeldJob) -> Outcome | None:
    """Return what to report of a handler that still runs when the worker must stop."""
    if time.monotonic() > slot.deadline:
        return stuck_outcome(slot, held, TimeoutStep.GIVEN_UP)
    return decide_unfinished(held.job, _running_ending(slot, held, None))


def _running_ending(slot: Slot, held: HeldJob, step: TimeoutStep | None) -> Ending:
    started = slot.busy_since
    return _ending(held, time.monotonic() if started is None else started, decode_envelope(held.job.body), step)


def _not_begun(held: HeldJob) -> Outcome:
    """The handler was never called, so the attempt does not count, also when its Start was announced."""
    job = held.job
    if held.cancelled:
        return Cancel(id=job.id, lease_no=job.lease_no)
    return Release(id=job.id, lease_no=job.lease_no)


def _bury(held: HeldJob, error: WgError) -> Outcome:
    job = held.job
    _log.error("%s: %s; moved to the dead letters", held, error)
    record = record_of(job, error, "dead", _ending(held, time.monotonic(), Envelope(v=1)))
    return Bury(id=job.id, lease_no=job.lease_no, record=record)


def _log_failure(held: HeldJob, error: BaseException, outcome: Outcome | None) -> None:
    what = f"{error_name(error)}: {error_message(error)}"
    if isinstance(outcome, Retry):
        _log.warning("%s failed, next run in %.1f s: %s", held, outcome.delay_seconds, what)
    elif isinstance(outcome, Bury):
        _log.error("%s failed for good, moved to the dead letters: %s", held, what)
    elif outcome is None:
        _log.warning("%s failed after its lease was lost, not recorded: %s", held, what)
    else:
        _log.info("%s was cancelled: %s", held, what)
