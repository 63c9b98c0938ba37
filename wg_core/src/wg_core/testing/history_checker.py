"""Finds lost, doubled and early jobs in a log that producers, handlers and killers wrote.

::

    log = HistoryLog(path)                      # one file, any number of threads and processes
    log.enqueued("a", run_at=time.time() + 5)   # the producer, once enqueue returned
    log.started("a", attempt=1, lease_no=1)     # the handler, first thing
    log.finished("a", attempt=1, lease_no=1)    # the handler, last thing (or log.failed)
    log.killed(pid)                             # whoever killed a process
    verdict = check(read_history(path))
    assert verdict.ok, verdict
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from pathlib import Path

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the log. Times are seconds since the epoch by the clock of the machine."""

    time: float
    event: str
    """enqueued, started, finished, failed, killed"""
    pid: int
    id: str = ""
    attempt: int = 0
    lease_no: int = 0
    run_at: float | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the log proves; each tuple holds ids of jobs."""

    enqueued: int
    finished: int
    interrupted: int
    """Runs that the kill of their process ended: a fault test checks that there were some."""
    lost: tuple[str, ...] = ()
    """Enqueued, and neither finished nor accounted for."""
    at_once: tuple[str, ...] = ()
    """Ran twice at the same time."""
    run_again: tuple[str, ...] = ()
    """Started again though a run had finished and its process was not killed."""
    early: tuple[str, ...] = ()
    """Started before its time."""
    unknown: tuple[str, ...] = ()
    """Started, but no producer noted it: normal when a producer was killed between enqueue and its note."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled or early."""
        return not (self.lost or self.at_once or self.run_again or self.early)


class HistoryLog:
    """Appends events to a file, one write each, so that lines of several processes never mix and a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def enqueued(self, job_id: str, *, run_at: float | None = None) -> None:
        """Note that enqueue returned; `run_at` in seconds since the epoch when the job has a time."""
        self._append(Event(time=time.time(), event="enqueued", pid=os.getpid(), id=job_id, run_at=run_at))

    def started(self, job_id: str, *, attempt: int, lease_no: int) -> None:
        """Note that the handler begins."""
        self._append(_of_run("started", job_id, attempt, lease_no))

    def finished(self, job_id: str, *, attempt: int, lease_no: int) -> None:
        """Note that the handler is done."""
        self._append(_of_run("finished", job_id, attempt, lease_no))

    def failed(self, job_id: str, *, attempt: int, lease_no: int) -> None:
        """Note that the handler is about to raise."""
        self._append(_of_run("failed", job_id, attempt, lease_no))

    def killed(self, pid: int) -> None:
        """Note that a process was killed; before or after the kill makes no difference."""
        self._append(Event(time=time.time(), event="killed", pid=pid))

    def _append(self, event: Event) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(event) + b"\n")
        finally:
            os.close(descriptor)


def _of_run(event: str, job_id: str, attempt: int, lease_no: int) -> Event:
    return Event(time=time.time(), event=event, pid=os.getpid(), id=job_id, attempt=attempt, lease_no=lease_no)


def read_history(path: Path) -> list[Event]:
    """Return the events of a log in the order in which they were written."""
    return [msgspec.json.decode(line, type=Event) for line in path.read_bytes().splitlines()]


class _Run(msgspec.Struct):
    """One run of one job: the lines between which it ran, and how it ended (None: nobody said)."""

    pid: int
    lease_no: int
    first_line: int
    started_at: float
    last_line: int | None = None
    ended: str | None = None


def check(events: Sequence[Event], *, ended_otherwise: Collection[str] = ()) -> Verdict:
    """Judge a history; pure.

    `ended_otherwise` are jobs that the store says are dead, cancelled or expired, so not lost. That a job runs again is
    in order when the run before failed or when its process was killed, also after the handler was done: the kill may
    have come before the report.
    """
    due = {event.id: event.run_at or 0.0 for event in events if event.event == "enqueued"}
    killed = {event.pid for event in events if event.event == "killed"}
    runs = _runs(events)
    finished = {job_id for job_id, of_job in runs.items() if any(run.ended == "finished" for run in of_job)}
    unfinished = [run for of_job in runs.values() for run in of_job if run.ended is None]
    return Verdict(
        enqueued=len(due),
        finished=len(finished),
        interrupted=sum(run.pid in killed for run in unfinished),
        lost=tuple(sorted(due.keys() - finished - set(ended_otherwise))),
        at_once=_jobs_with(runs, lambda run, later: _overlap(run, later) and run.pid not in killed),
        run_again=_jobs_with(runs, lambda run, _: run.ended == "finished" and run.pid not in killed),
        early=tuple(sorted(job_id for job_id, of_job in runs.items() if of_job[0].started_at < due.get(job_id, 0.0))),
        unknown=tuple(sorted(runs.keys() - due.keys())),
    )


def _runs(events: Sequence[Event]) -> dict[str, list[_Run]]:
    runs: defaultdict[str, list[_Run]] = defaultdict(list)
    for line, event in enumerate(events):
        if event.event == "started":
            runs[event.id].append(_Run(event.pid, event.lease_no, line, event.time))
        elif event.event in {"finished", "failed"}:
            for run in runs[event.id]:
                if (run.pid, run.lease_no) == (event.pid, event.lease_no):
                    run.last_line, run.ended = line, event.event
    return runs


def _overlap(run: _Run, later: _Run) -> bool:
    return run.last_line is None or run.last_line > later.first_line


def _jobs_with(runs: dict[str, list[_Run]], troubled: Callable[[_Run, _Run], bool]) -> tuple[str, ...]:
    """Return the jobs of which some run and a later one are in trouble."""
    return tuple(
        sorted(
            job_id
            for job_id, of_job in runs.items()
            if any(troubled(run, later) for run, later in combinations(of_job, 2))
        )
    )
