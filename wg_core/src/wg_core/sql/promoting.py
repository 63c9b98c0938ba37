"""Promote: from scheduled and retry to ready when due."""

from __future__ import annotations

from wg_core.protocol import Promoted
from wg_core.sql.destinations import Destinations
from wg_core.sql.flavor import Row
from wg_core.sql.transaction import Transaction


def promote_due(tx: Transaction, limit: int) -> Promoted:
    """Move up to `limit` due jobs of both tables, in the order of their times."""
    tables, statements = tx.statements.tables, tx.statements
    times = [
        (run_at, number)
        for number, table in enumerate((tables.scheduled, tables.retry))
        for run_at in tx.column(statements.due_times(table), limit=limit + 1)
    ]
    times.sort()
    due = [number for run_at, number in times[:limit] if run_at <= tx.now]
    rows: list[Row] = []
    for number, table in enumerate((tables.scheduled, tables.retry)):
        if count := due.count(number):
            rows += tx.take(statements.take_due(table), now=tx.now, limit=count)
    rows.sort(key=lambda row: (row["run_at"], row["seq"]))
    destinations = Destinations(tx.now)
    for row in rows:
        destinations.make_ready(row)
    destinations.write(tx)
    return Promoted(moved=len(rows), next_due_seconds=_seconds_until(times[len(due) :], tx.now))


def _seconds_until(times: list[tuple[int, int]], now: int) -> float | None:
    return max(0, times[0][0] - now) / 1000 if times else None
