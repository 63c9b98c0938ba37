"""From the journal and the list of files to the verdict: what was lost, what ran twice, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from wg_core.demo.journal import Event, EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the journal says. Files are named by path."""

    files: int
    packed: int
    bytes_read: int
    bytes_packed: int
    tokens: int
    retries: int
    """Failures by design, each followed by another run."""
    dead: tuple[str, ...]
    """Files whose job ended in the dead letters."""
    killed_pids: tuple[int, ...]
    interrupted: int
    """Runs that had started and not ended in a process that was killed."""
    recovery_seconds: float | None
    """How long after the kill the first of them started again; None when none was interrupted or came back."""
    lost: tuple[str, ...]
    """Files that were neither packed nor are a dead letter."""
    run_twice: tuple[str, ...]
    """Files whose job was started again after a run that a kill cut off, or cut off from its report."""
    unexplained: tuple[str, ...]
    """Files whose job was started again though nothing in the journal called for it."""

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost and every second run has its reason."""
        return not self.lost and not self.unexplained


@dataclass(slots=True)
class _Run:
    pid: int
    end: EventKind | None = None


def check(files: Sequence[str], events: Iterable[Event], dead: Collection[str]) -> Verdict:
    """Hold the journal against the list of files and the files in the dead letters.

    A second start of a job is explained by the run before it: that one failed by design, or its process was
    killed before the second one began.
    """
    ledger = _Ledger()
    for event in events:
        ledger.note(event)
    packed = ledger.packed
    return Verdict(
        files=len(files),
        packed=len(packed),
        bytes_read=sum(event.bytes_read for event in packed.values()),
        bytes_packed=sum(event.bytes_packed for event in packed.values()),
        tokens=sum(event.tokens for event in packed.values()),
        retries=ledger.failures,
        dead=tuple(sorted(dead)),
        killed_pids=tuple(ledger.killed),
        interrupted=ledger.interrupted(),
        recovery_seconds=ledger.recovery_seconds,
        lost=tuple(file for file in files if file not in packed and file not in dead),
        run_twice=tuple(sorted(ledger.run_twice)),
        unexplained=tuple(sorted(ledger.unexplained)),
    )


class _Ledger:
    """The runs of every file in the order of the journal."""

    def __init__(self) -> None:
        self.packed: dict[str, Event] = {}
        self.failures = 0
        self.killed: dict[int, float] = {}
        """The time of the kill by process."""
        self.recovery_seconds: float | None = None
        self.run_twice: set[str] = set()
        self.unexplained: set[str] = set()
        self._runs: defaultdict[str, dict[tuple[str, int], _Run]] = defaultdict(dict)

    def note(self, event: Event) -> None:
        if event.kind is EventKind.KILL:
            self.killed[event.pid] = event.at
        elif event.kind is EventKind.STARTED:
            self._start(event)
        else:
            self._end(event)

    def interrupted(self) -> int:
        """Return how many runs a kill cut off."""
        return sum(run.end is None and run.pid in self.killed for runs in self._runs.values() for run in runs.values())

    def _start(self, event: Event) -> None:
        runs = self._runs[event.file]
        if runs:
            before = next(reversed(runs.values()))
            self._explain(event, before)
        runs[event.job, event.lease_no] = _Run(event.pid)

    def _explain(self, event: Event, before: _Run) -> None:
        """Find the reason why a job was started again."""
        if before.end is EventKind.FAILED:
            return
        if before.pid not in self.killed:
            self.unexplained.add(event.file)
            return
        self.run_twice.add(event.file)
        if before.end is None and self.recovery_seconds is None:
            self.recovery_seconds = event.at - self.killed[before.pid]

    def _end(self, event: Event) -> None:
        run = self._runs[event.file].get((event.job, event.lease_no))
        if run is None or run.end is not None:
            self.unexplained.add(event.file)
            return
        run.end = event.kind
        if event.kind is EventKind.PACKED:
            self.packed.setdefault(event.file, event)
        elif event.kind is EventKind.FAILED:
            self.failures += 1
