"""The worker processes of one supervisor: started, heard, replaced and taken away. Its main thread only."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wg_core._beater import new_worker_id
from wg_core._channel import Bye, FromWorker, ImportFailed, Ready, ReplaceMe, Setup, Stop, ToWorker
from wg_core._child import STOP_MARGIN_SECONDS, Child, spawn
from wg_core._retirer import Death
from wg_core._seat import CrashLoop, Seat
from wg_core._vigil import MOST_SILENT_SECONDS, process_state

_log = logging.getLogger("wg.supervisor")

STOPPED_PATIENCE_SECONDS = 0.25
"""A process may be suspended this long: when a whole process tree is resumed, its supervisor may wake first."""


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """Something that happened to a worker process, for whoever watches a supervisor."""

    kind: Literal["started", "ready", "replacing", "ended", "retired"]
    pid: int
    worker: str
    detail: str = ""


class Children:
    """All worker processes. `snapshot` may be read by any thread, everything else is for the main thread."""

    def __init__(
        self,
        setup: Callable[[str], Setup],
        processes: int,
        selector: selectors.BaseSelector,
        *,
        stop_seconds: float,
        on_ready: Callable[[], None],
        on_death: Callable[[Death], None],
        on_event: Callable[[WorkerEvent], None],
    ) -> None:
        self._setup = setup
        self._selector = selector
        self._stop_seconds = stop_seconds
        self._on_ready = on_ready
        self._on_death = on_death
        self._on_event = on_event
        self._seats = [Seat(number) for number in range(1, processes + 1)]
        self._crash_loop = CrashLoop()
        self._was_any_ready = False
        self.snapshot: tuple[Child, ...] = ()
        """Every child whose end was not seen yet."""
        self.is_stopping = False
        self.was_forced = False
        """Whether a child did not end its work by itself after the stop."""
        self.import_error: str | None = None
        """Why the handler modules could not be imported by the first children."""

    @property
    def is_over(self) -> bool:
        """Whether no child lives and none will be started."""
        return not self.snapshot and all(seat.is_closed for seat in self._seats)

    def turn(self) -> float:
        """Do all that is to be done now; return in how many seconds to look again at the latest."""
        self._hear_all()
        self._reap()
        now = time.monotonic()
        self._replace_lost()
        self._end_stopped(now)
        self._end_overdue(now)
        self._start_due(now)
        return self._next_look(now)

    def stop(self, *, now: bool, within_seconds: float) -> None:
        """Ask every child to end, and end by force what still lives after `within_seconds`. Repeatable."""
        self.is_stopping = True
        self.was_forced = self.was_forced or now
        leave_by = time.monotonic() + within_seconds
        for child in self.snapshot:
            child.leave_by = leave_by if child.leave_by is None else min(child.leave_by, leave_by)
            child.may_outstay = False
            child.channel.send(Stop(now=now))
            if not child.is_ready:
                child.process.terminate()  # it imports modules and holds no job; it cannot hear us before it is done
        for seat in self._seats:
            seat.start_at = float("inf")

    # ------------------------------------------------------------------ starting

    def _start_due(self, now: float) -> None:
        for seat in self._seats:
            if seat.is_due(now):
                self._start(seat, now)

    def _start(self, seat: Seat, now: float) -> None:
        setup = self._setup(new_worker_id())
        try:
            child = spawn(setup, most_silence_per_look=2 * setup.settings.heartbeat)
        except OSError as error:
            seat.start_at = now + max(1.0, self._crash_loop.delay(now))
            _log.error("no worker process can be started: %s", error)
            return
        seat.child = child
        self.snapshot = (*self.snapshot, child)
        self._selector.register(child.channel, selectors.EVENT_READ)
        _log.info("process %d started as worker %s (%d of %d)", child.pid, child.worker, seat.number, len(self._seats))
        self._on_event(WorkerEvent("started", child.pid, child.worker))

    # ------------------------------------------------------------------ hearing

    def _hear_all(self) -> None:
        for child in self.snapshot:
            self._hear(child)

    def _hear(self, child: Child) -> None:
        for message in child.channel.receive():
            self._take(child, message)
        child.channel.flush()
        if child.channel.is_closed and not child.is_mute:
            self._mute(child)
            self._give(child, STOP_MARGIN_SECONDS)

    def _mute(self, child: Child) -> None:
        if not child.is_mute:
            child.is_mute = True
            self._selector.unregister(child.channel)  # else the end of its stream would wake us again and again

    def _take(self, child: Child, message: ToWorker | FromWorker) -> None:
        match message:
            case Ready():
                child.is_ready = self._was_any_ready = True
                _log.info("process %d is ready", child.pid)
                self._on_event(WorkerEvent("ready", child.pid, child.worker))
                self._on_ready()
            case ReplaceMe(reason=reason):
                self._replace(child, reason)
            case ImportFailed(line=line):
                self._import_failed(child, line)
            case Bye(idle=idle, exit_code=exit_code):
                child.is_idle, child.said_exit_code = idle, exit_code
                child.has_ended = True
                self._give(child, STOP_MARGIN_SECONDS)  # only a thread of the user's can still keep it
            case _:
                _log.error("process %d sent %r", child.pid, message)

    def _import_failed(self, child: Child, line: str) -> None:
        if self._was_any_ready:
            _log.error("process %d: %s", child.pid, line)
        else:
            self.import_error = self.import_error or line
        self._give(child, STOP_MARGIN_SECONDS)

    def _replace(self, child: Child, reason: str) -> None:
        """Let another child take the seat at once; the old one stays until its handlers are done."""
        if child.is_leaving:
            return
        child.is_leaving = True
        _log.warning("process %d is being replaced: %s", child.pid, reason)
        self._on_event(WorkerEvent("replacing", child.pid, child.worker, reason))
        self._give(child, self._stop_seconds)
        child.may_outstay = True
        for seat in self._seats:
            if seat.child is child:
                seat.child = None

    def _replace_lost(self) -> None:
        for child in self.snapshot:
            if child.is_lease_lost and not child.is_leaving:
                self._replace(child, "its lease was lost, its jobs were given to others")
                child.may_outstay = False

    # ------------------------------------------------------------------ ending

    def _give(self, child: Child, seconds: float) -> None:
        leave_by = time.monotonic() + seconds
        child.leave_by = leave_by if child.leave_by is None else min(child.leave_by, leave_by)

    def _end_stopped(self, now: float) -> None:
        for child in self.snapshot:
            if process_state(child.pid) != "T":
                child.stopped_since = None
            elif child.stopped_since is None:
                child.stopped_since = now
            elif now - child.stopped_since >= STOPPED_PATIENCE_SECONDS:
                child.kill("it was stopped by a signal")

    def _end_overdue(self, now: float) -> None:
        for child in self.snapshot:
            if child.leave_by is None or now < child.leave_by or self._is_excused(child, now):
                continue
            child.was_cut_off = self.is_stopping
            self.was_forced = self.was_forced or (self.is_stopping and not child.has_ended)
            child.kill("it did not exit in time")

    def _is_excused(self, child: Child, now: float) -> bool:
        if not child.may_outstay or child.leave_by is None or now > child.leave_by + MOST_SILENT_SECONDS:
            return False
        return any(handler.deadline > now for handler in child.board.running())

    def _reap(self) -> None:
        for child in self.snapshot:
            if child.process.poll() is not None:
                self._bury(child)

    def _bury(self, child: Child) -> None:
        self._hear(child)  # its last words
        child.has_ended = True
        self.snapshot = tuple(other for other in self.snapshot if other is not child)
        self._mute(child)
        child.channel.close()
        running = child.board.running()
        end = child.describe_end()
        level = logging.INFO if child.process.returncode == 0 or self.is_stopping else logging.WARNING
        _log.log(level, "%s%s", end, f", {len(running)} handlers were running" if running else "")
        self._on_event(WorkerEvent("ended", child.pid, child.worker, end))
        if child.is_ready:
            # What the stop cut off is not to blame: it goes back without using an attempt.
            is_cut_off = child.was_cut_off or (self.is_stopping and child.process.returncode > 0)
            started = () if is_cut_off else tuple((handler.job_id, handler.lease_no) for handler in running)
            self._on_death(Death(child.worker, child.pid, started, end))
        self._vacate(child)

    def _vacate(self, child: Child) -> None:
        """Decide who sits next where the child sat."""
        code = child.exit_code
        if self.is_stopping and code != 0 and child.is_ready and not child.is_leaving:
            self.was_forced = True
        for seat in self._seats:
            if seat.child is not child:
                continue
            seat.child = None
            if child.is_idle and code == 0:
                seat.close()
            elif not self.is_stopping:
                self._delay_next(seat)

    def _delay_next(self, seat: Seat) -> None:
        now = time.monotonic()
        delay = self._crash_loop.delay(now)
        seat.start_at = now + delay
        if delay:
            _log.warning("worker processes end again and again; the next one starts in %.2f s", delay)

    def _next_look(self, now: float) -> float:
        # What is overdue was killed, which a signal tells, or is excused for what may be long.
        limits = [child.leave_by - now for child in self.snapshot if child.leave_by is not None]
        looks = [limit for limit in limits if limit > 0]
        looks += [0.05 for child in self.snapshot if child.stopped_since is not None]
        looks += [seat.start_at - now for seat in self._seats if seat.child is None]
        return max(0.02, min(looks, default=float("inf")))
