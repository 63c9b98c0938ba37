"""Stats and workers: what there is, counted cheaply or exactly."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table

from wg_core.job import JobState
from wg_core.protocol import COUNT_CAP, QueueStats, Stats, StatsLevel, WorkerRecord
from wg_core.sql.prepared import Prepared
from wg_core.sql.tables import COUNTER_COLUMNS
from wg_core.sql.transaction import Transaction

_BEFORE_ALL_RANKS = -1_000
_STATES = (JobState.READY, JobState.SCHEDULED, JobState.RETRY, JobState.RUNNING, JobState.DEAD)


def count_all(tx: Transaction, level: StatsLevel) -> Stats:
    """Return the counts of all queues and states."""
    by_state = {state: _by_queue(tx, state) for state in _STATES} if level is StatsLevel.EXACT else None
    totals = {queue: dict(zip(COUNTER_COLUMNS, sums, strict=True)) for queue, *sums in tx.rows(tx.statements.totals)}
    queues = {
        name: _queue(tx, name, totals.get(name, {}), by_state, paused=bool(paused))
        for name, paused in tx.rows(tx.statements.all_queues)
    }
    lengths, capped = _exact_lengths(by_state) if by_state is not None else _capped_lengths(tx)
    workers = tx.column(tx.statements.live_workers, now=tx.now)[0]
    return Stats(queues=queues, workers=workers, capped=capped, **lengths)


def _by_queue(tx: Transaction, state: JobState) -> dict[str, int]:
    return dict(tx.rows(tx.statements.count_by_queue(tx.statements.tables.by_state[state])))


def _exact_lengths(by_state: dict[JobState, dict[str, int]]) -> tuple[dict[str, int], frozenset[str]]:
    return {state.value: sum(counts.values()) for state, counts in by_state.items()}, frozenset()


def _capped_lengths(tx: Transaction) -> tuple[dict[str, int], frozenset[str]]:
    lengths = {state.value: _length(tx, tx.statements.tables.by_state[state]) for state in _STATES}
    return (
        {name: min(length, COUNT_CAP) for name, length in lengths.items()},
        frozenset(name for name, length in lengths.items() if length > COUNT_CAP),
    )


def _length(tx: Transaction, table: Table) -> int:
    return int(tx.column(tx.statements.length(table))[0])


def _queue(
    tx: Transaction,
    name: str,
    totals: dict[str, int],
    by_state: dict[JobState, dict[str, int]] | None,
    *,
    paused: bool,
) -> QueueStats:
    oldest = _oldest_ready(tx, name)
    waited = None if oldest is None else max(0, tx.now - oldest) / 1000
    totals = {total: int(number) for total, number in totals.items()}
    if by_state is not None:
        lengths: dict[str, Any] = {state.value: counts.get(name, 0) for state, counts in by_state.items()}
        return QueueStats(ready=lengths.pop("ready"), paused=paused, oldest_ready_seconds=waited, **(lengths | totals))
    ready = _capped(tx, tx.statements.ready_in_queue, queue=name)
    return QueueStats(
        ready=min(ready, COUNT_CAP),
        ready_capped=ready > COUNT_CAP,
        paused=paused,
        oldest_ready_seconds=waited,
        **totals,
    )


def _capped(tx: Transaction, statement: Prepared, **parameters: str) -> int:
    return int(tx.column(statement, **parameters)[0])


def _oldest_ready(tx: Transaction, queue: str) -> int | None:
    """Return when the job with the smallest sequence number became ready: one look for each priority in use."""
    firsts: list[tuple[int, int]] = []
    rank = _BEFORE_ALL_RANKS
    while (row := tx.row(tx.statements.next_rank, queue=queue, after_rank=rank)) is not None:
        rank, seq, ready_at = row
        firsts.append((seq, ready_at))
    return min(firsts)[1] if firsts else None


def list_workers(tx: Transaction) -> list[WorkerRecord]:
    """Return all workers with how many jobs they hold."""
    return [
        WorkerRecord(
            id=worker,
            info=info,
            lease_until=lease_until,
            running=min(_capped(tx, tx.statements.held_by, worker=worker), COUNT_CAP),
        )
        for worker, info, lease_until in tx.rows(tx.statements.all_workers)
    ]
