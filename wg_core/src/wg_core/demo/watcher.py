"""Follows the demo's journal while the worker works, and kills one of its processes half-way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from wg_core.backend import Backend
from wg_core.demo import journal
from wg_core.demo.display import Display, Progress
from wg_core.demo.journal import Event, EventKind, JournalReader
from wg_core.demo.worker_command import WorkerCommand
from wg_core.errors import WgError

LOOK_SECONDS = 0.05
QUIET_SECONDS = 2.0
"""When nothing has happened for so long, the store is asked whether there is anything left to wait for."""
STUCK_SECONDS = 60.0
"""When nothing has happened for so long, what is missing counts as lost."""
GONE_SECONDS = 5.0
MOST_KILLS = 5
"""A kill that met no running job is repeated, so often at most."""


class DemoError(WgError):
    """The demo could not go on; says what its worker said."""


class Watcher:
    """Waits for the end of all jobs. Used by one thread."""

    def __init__(
        self, backend: Backend, worker: WorkerCommand, display: Display, files: Sequence[str], journal_path: Path
    ) -> None:
        self._backend = backend
        self._worker = worker
        self._display = display
        self._total = len(files)
        self._journal_path = journal_path
        self._reader = JournalReader(journal_path)
        self._settled: set[str] = set()
        self._retries = 0
        self._running: dict[tuple[str, int], int] = {}
        """The process of each run that has started and not ended."""
        self._kills = 0
        self._has_hit = False
        self._last_event = time.monotonic()

    def run(self) -> None:
        """Return when all jobs have ended and the store says so too, or when nothing moves any more."""
        self._wait_until(self._look)
        self._wait_until(self._is_store_empty)

    def _look(self) -> bool:
        """Read the journal, draw, kill when it is time; returns whether there is nothing left to wait for."""
        self._read()
        self._display.show(Progress(done=len(self._settled), total=self._total, retries=self._retries))
        if not self._has_hit and self._kills < MOST_KILLS and 2 * len(self._settled) >= self._total:
            self._kill_busiest()
        if len(self._settled) == self._total:
            return True
        return time.monotonic() - self._last_event > QUIET_SECONDS and self._is_store_empty()

    def _is_store_empty(self) -> bool:
        """Say whether no job waits or runs any more: also the outcomes of the last ones have been reported."""
        self._read()
        stats = self._backend.stats()
        return not (stats.ready or stats.scheduled or stats.retry or stats.running)

    def _wait_until(self, is_done: Callable[[], bool]) -> None:
        pause = threading.Event()
        while not is_done():
            if self._worker.exit_code() is not None:
                raise DemoError(
                    f"the demo's worker ended with exit code {self._worker.exit_code()}; its log ends: "
                    f"{self._worker.last_lines()}"
                )
            if time.monotonic() - self._last_event > STUCK_SECONDS:
                return
            pause.wait(LOOK_SECONDS)

    def _read(self) -> None:
        for event in self._reader.read_new():
            self._last_event = time.monotonic()
            self._note(event)

    def _note(self, event: Event) -> None:
        run = (event.job, event.lease_no)
        if event.kind is EventKind.STARTED:
            self._running[run] = event.pid
            return
        self._running.pop(run, None)
        if event.kind is EventKind.FAILED:
            self._retries += 1
        elif event.kind in {EventKind.PACKED, EventKind.REFUSED}:
            self._settled.add(event.file)

    def _kill_busiest(self) -> None:
        """Kill the process that runs most jobs right now; the journal is told first, so that it explains what follows.

        Whether the kill met running jobs is known only afterwards, from what the process had written until then.
        """
        busiest = Counter(self._running.values()).most_common(1)
        if not busiest:
            return
        pid = busiest[0][0]
        journal.append(str(self._journal_path), EventKind.KILL, pid=pid)
        os.kill(pid, signal.SIGKILL)
        _wait_until_gone(pid)
        self._read()
        interrupted = [run for run, owner in self._running.items() if owner == pid]
        for run in interrupted:
            del self._running[run]
        self._kills += 1
        self._has_hit = bool(interrupted)
        self._display.say(f"killed process {pid} with SIGKILL while it ran {len(interrupted)} jobs")


def _wait_until_gone(pid: int) -> None:
    """Wait until a killed process has ended and its parent knows, a few seconds at most."""
    deadline = time.monotonic() + GONE_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        pause.wait(0.005)
