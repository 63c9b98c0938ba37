"""Report: what became of running jobs, a few statements for a whole batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from wg_core.job import milliseconds
from wg_core.outcome import Ack, Applied, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.sql.destinations import Destinations, add_record
from wg_core.sql.flavor import Row
from wg_core.sql.requests import LastRequest
from wg_core.sql.transaction import Transaction

Numbered = tuple[int, Outcome]
"""An outcome and its place in the batch."""


def report_outcomes(tx: Transaction, worker: str, outcomes: Sequence[Outcome], request_no: int) -> list[Applied]:
    """Apply a batch, or answer a repeated request from memory."""
    known = tx.row(tx.statements.lease, worker=worker, operation="report")
    if known is None:  # forgotten, and a worker is forgotten only once it holds nothing
        return [Applied.LOST] * len(outcomes)
    last = LastRequest(worker, "report", number=known[2], answer=known[3])
    lost = last.repeated_answer(request_no)
    if lost is not None:
        return _answer(len(outcomes), {int(place) for place in lost})
    batch = _Batch(tx, worker)
    for wave in _waves(outcomes):
        batch.apply(wave)
    batch.destinations.write(tx)
    applied = batch.applied
    missing = [place for place in range(len(outcomes)) if place not in applied]
    last.remember(tx, request_no, [str(place) for place in missing])
    return _answer(len(outcomes), set(missing))


def _answer(length: int, lost: set[int]) -> list[Applied]:
    return [Applied.LOST if place in lost else Applied.APPLIED for place in range(length)]


def _waves(outcomes: Sequence[Outcome]) -> Iterator[list[Numbered]]:
    """Split a batch so that no job is twice in one wave, and each job's outcomes stay in order (nearly always one)."""
    waves: list[list[Numbered]] = []
    seen: dict[str, int] = {}
    for place, outcome in enumerate(outcomes):
        number = seen.get(outcome.id, 0)
        seen[outcome.id] = number + 1
        if number == len(waves):
            waves.append([])
        waves[number].append((place, outcome))
    return iter(waves)


class _Batch:
    """Applies waves of outcomes; `applied` are the places that the fence let through."""

    def __init__(self, tx: Transaction, worker: str) -> None:
        self.destinations = Destinations(tx.now, worker)
        self.applied: set[int] = set()
        self._tx = tx
        self._worker = worker

    def apply(self, wave: list[Numbered]) -> None:
        """Apply outcomes of different jobs: for each lease number (nearly always one) a statement a kind."""
        finished: defaultdict[tuple[int, str], list[Numbered]] = defaultdict(list)
        started: defaultdict[int, list[Numbered]] = defaultdict(list)
        moved: defaultdict[int, list[Numbered]] = defaultdict(list)
        for place, outcome in wave:
            match outcome:
                case Ack():
                    finished[outcome.lease_no, "done"].append((place, outcome))
                case Cancel():
                    finished[outcome.lease_no, "cancelled"].append((place, outcome))
                case Start():
                    started[outcome.lease_no].append((place, outcome))
                case Progress():
                    self._set_progress(place, outcome)
                case _:
                    moved[outcome.lease_no].append((place, outcome))
        for (lease_no, total), group in finished.items():
            self._finish(lease_no, group, total)
        for lease_no, group in started.items():
            self._start(lease_no, group)
        for lease_no, group in moved.items():
            self._move(lease_no, group)

    def _finish(self, lease_no: int, group: list[Numbered], total: str) -> None:
        rows = self._tx.taken(self._tx.statements.finish, **self._fence(lease_no, group))
        for _, queue, _ in rows:
            self.destinations.count(queue, total)
        self._note_applied(group, {row[0] for row in rows})

    def _start(self, lease_no: int, group: list[Numbered]) -> None:
        fence = self._fence(lease_no, group)
        held = self._tx.column(self._tx.statements.lock_held, **fence)
        self._tx.run(self._tx.statements.mark_started, **fence)
        self._note_applied(group, set(held))

    def _set_progress(self, place: int, outcome: Progress) -> None:
        changed = self._tx.run(
            self._tx.statements.set_progress,
            job_id=outcome.id,
            worker=self._worker,
            lease_no=outcome.lease_no,
            value=outcome.value,
        )
        if changed:
            self.applied.add(place)

    def _move(self, lease_no: int, group: list[Numbered]) -> None:
        rows = self._tx.take(self._tx.statements.take_held, **self._fence(lease_no, group))
        by_id = {row["id"]: row for row in rows}
        for _, outcome in group:
            if outcome.id in by_id:
                settle(by_id[outcome.id], outcome, self.destinations)
        self._note_applied(group, by_id.keys())

    def _fence(self, lease_no: int, group: list[Numbered]) -> dict[str, object]:
        ids = self._tx.ids(outcome.id for _, outcome in group)
        return {"ids": ids, "worker": self._worker, "lease_no": lease_no}

    def _note_applied(self, group: list[Numbered], ids: AbstractSet[str]) -> None:
        self.applied.update(place for place, outcome in group if outcome.id in ids)


def settle(row: Row, outcome: Outcome, destinations: Destinations) -> None:
    """Send a job that was taken from running where its outcome says."""
    match outcome:
        case Bury():
            add_record(row, outcome.record)
            destinations.bury(row)
        case _ if row["cancel_requested"]:
            destinations.count(row["queue"], "cancelled")
        case Retry():
            add_record(row, outcome.record)
            destinations.retry(row, destinations.now + milliseconds(outcome.delay_seconds))
        case Release():
            _release(row, outcome, destinations)


def _release(row: Row, outcome: Release, destinations: Destinations) -> None:
    row["attempt"] -= 1
    if outcome.counts_as is CountsAs.SNOOZE:
        row["snoozes"] += 1
    elif outcome.counts_as is CountsAs.BOUNCE:
        row["bounces"] += 1
    if (delay := milliseconds(outcome.delay_seconds)) > 0:
        destinations.schedule(row, destinations.now + delay)
    else:
        destinations.give_back(row)
