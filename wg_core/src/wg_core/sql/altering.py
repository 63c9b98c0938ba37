"""Alter and prune: what people and retention rules change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Table

from wg_core.job import JobState, Timestamp, check_timestamp, milliseconds
from wg_core.protocol import (
    Action,
    AlterResult,
    CancelJobs,
    DeleteJobs,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
)
from wg_core.sql.destinations import Destinations
from wg_core.sql.flavor import Row
from wg_core.sql.transaction import Transaction

_END_OF_TIME = 2**62
_PASSES = 5
"""How often jobs are looked for that moved on just before their state was looked at."""
_WAITING = (JobState.SCHEDULED, JobState.READY, JobState.RETRY)
_APPLIES_TO: dict[type[Action], tuple[JobState, ...]] = {
    CancelJobs: (*_WAITING, JobState.RUNNING),
    RequeueJobs: (JobState.SCHEDULED, JobState.RETRY, JobState.DEAD),
    DeleteJobs: (*_WAITING, JobState.DEAD),
    ReprioritiseJobs: _WAITING,
    RescheduleJobs: _WAITING,
}

_FRESH = {"attempt": 0, "crashes": 0, "snoozes": 0, "bounces": 0, "expires_at": None}
"""What a requeue makes of a dead job."""


def alter_jobs(
    tx: Transaction, ids: Sequence[str], action: Action, expected: frozenset[JobState] | None
) -> AlterResult:
    """Change jobs by id, each only in a state the action applies to."""
    change = _Change(tx, list(dict.fromkeys(ids)), action)
    states = [state for state in _APPLIES_TO[type(action)] if expected is None or state in expected]
    for _ in range(_PASSES):
        for state in states:
            change.apply(state)
        refused = _reasons(tx, change.remaining())
        if not any(reason in states for reason in refused.values()):
            break
    change.send_taken()
    change.destinations.write(tx)
    return AlterResult(changed=change.changed(), refused=refused)


def _reasons(tx: Transaction, ids: list[str]) -> dict[str, str]:
    if not ids:
        return {}
    states = dict(tx.rows(tx.statements.states, ids=tx.ids(ids)))
    return {job_id: states.get(job_id, "no such job") for job_id in ids}


class _Change:
    """One call of alter: goes through the states and keeps what was changed."""

    def __init__(self, tx: Transaction, ids: list[str], action: Action) -> None:
        self.destinations = Destinations(tx.now)
        self._tx = tx
        self._ids = ids
        self._action = action
        self._changed: set[str] = set()
        self._taken: dict[str, tuple[Row, JobState]] = {}

    def changed(self) -> tuple[str, ...]:
        """Return the ids that were changed, in the order given."""
        return tuple(job_id for job_id in self._ids if job_id in self._changed)

    def remaining(self) -> list[str]:
        """Return the ids that were not changed."""
        return [job_id for job_id in self._ids if job_id not in self._changed]

    def apply(self, state: JobState) -> None:
        """Change those of the remaining jobs that are in the state."""
        table = self._tx.statements.tables.by_state[state]
        match self._action:
            case CancelJobs() if state is JobState.RUNNING:
                self._update(table, lambda ids: self._tx.run(self._tx.statements.request_cancel, ids=ids))
            case ReprioritiseJobs(priority):
                statement = self._tx.statements.set_rank(table)
                self._update(table, lambda ids: self._tx.run(statement, ids=ids, new_rank=-priority))
            case RescheduleJobs() as action if state is JobState.READY and self._when(action) <= self._tx.now:
                self._update(table, lambda _: None)  # ready already, and it keeps its place
            case _:
                self._move(table, state)

    def _update(self, table: Table, update: Callable[[object], object]) -> None:
        found = self._tx.column(self._tx.statements.lock_ids(table), ids=self._tx.ids(self.remaining()))
        if found:
            update(self._tx.ids(found))
            self._changed.update(found)

    def _move(self, table: Table, state: JobState) -> None:
        tx = self._tx
        rows = tx.take(tx.statements.take_ids(table), ids=tx.ids(self.remaining()))
        self._taken.update((row["id"], (row, state)) for row in rows)
        self._changed.update(row["id"] for row in rows)

    def send_taken(self) -> None:
        """Send the jobs that were taken on their way: the order of the call is the order at the tail of ready."""
        for job_id in self._ids:
            if job_id in self._taken:
                self._send(*self._taken[job_id])

    def _send(self, row: Row, state: JobState) -> None:
        match self._action:
            case CancelJobs():
                self.destinations.count(row["queue"], "cancelled")
            case RequeueJobs():
                self.destinations.make_ready({**row, **_FRESH} if state is JobState.DEAD else row)
            case RescheduleJobs() as action:
                if self._when(action) > self._tx.now:
                    self.destinations.schedule(row, self._when(action))
                else:
                    self.destinations.make_ready(row)

    def _when(self, action: RescheduleJobs) -> Timestamp:
        if action.run_at is not None:
            return check_timestamp(action.run_at)
        return self._tx.now + milliseconds(action.delay_seconds)


def prune_jobs(tx: Transaction, policy: Retention, limit: int) -> int:
    """Delete dead jobs that are too old or too many, and end waiting jobs that expired."""
    pruned = _prune_dead(tx, policy, limit)
    ended = Destinations(tx.now)
    for table in tx.statements.tables.waiting:
        if pruned < limit:
            expired = tx.taken(tx.statements.take_expired(table), now=tx.now, limit=limit - pruned)
            _count_expired(ended, (queue for queue, _ in expired))
            pruned += len(expired)
    ended.write(tx)
    return pruned


def _count_expired(ended: Destinations, queues: Iterable[str]) -> None:
    for queue in queues:
        ended.count(queue, "expired")


def _prune_dead(tx: Transaction, policy: Retention, limit: int) -> int:
    pruned = 0
    if policy.dead_seconds is not None:
        pruned += _delete_oldest(tx, tx.now - milliseconds(policy.dead_seconds), limit)
    if policy.dead_most is not None and pruned < limit:
        excess = _excess(tx, policy.dead_most, limit - pruned)
        pruned += _delete_oldest(tx, _END_OF_TIME, excess) if excess else 0
    return pruned


def _excess(tx: Transaction, most: int, limit: int) -> int:
    """Return how many dead jobs are too many, counting no further than needed."""
    counted = tx.column(tx.statements.count_dead, limit=most + limit)[0]
    return max(0, int(counted) - most)


def _delete_oldest(tx: Transaction, ended_by: Timestamp, limit: int) -> int:
    ids = tx.column(tx.statements.oldest_dead, ended_by=ended_by, limit=limit)
    return len(tx.taken(tx.statements.take_ids(tx.statements.tables.dead), ids=tx.ids(ids))) if ids else 0
