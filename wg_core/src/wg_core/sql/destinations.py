"""Where jobs go that were taken from a table: gathered row by row, written in bulk at the end of a transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from wg_core.history import AttemptRecord, append_line, encode_record
from wg_core.job import Timestamp
from wg_core.sql.flavor import Row
from wg_core.sql.tables import COUNTER_COLUMNS
from wg_core.sql.transaction import Transaction


@dataclass(slots=True)
class Destinations:
    """Jobs on their way to another table, and totals to be added. `worker` is whose totals they are."""

    now: Timestamp
    worker: str = ""
    _returned: list[Row] = field(default_factory=list)
    _ready: list[Row] = field(default_factory=list)
    _scheduled: list[Row] = field(default_factory=list)
    _retry: list[Row] = field(default_factory=list)
    _dead: list[Row] = field(default_factory=list)
    _ended: Counter[tuple[str, str]] = field(default_factory=Counter)

    def give_back(self, row: Row) -> None:
        """Send a running job back to where it stood, under its own sequence number."""
        self._returned.append(row)

    def make_ready(self, row: Row) -> None:
        """Send a job to the tail of its priority."""
        self._ready.append({**row, "ready_at": self.now})

    def schedule(self, row: Row, run_at: Timestamp) -> None:
        """Let a job wait for its time."""
        self._scheduled.append({**row, "run_at": run_at})

    def retry(self, row: Row, run_at: Timestamp) -> None:
        """Let a failed job wait for its next attempt."""
        self._retry.append({**row, "run_at": run_at})

    def bury(self, row: Row) -> None:
        """Send a job to the dead letters."""
        self._dead.append({**row, "ended_at": self.now})
        self.count(row["queue"], "failed")

    def count(self, queue: str, outcome: str, number: int = 1) -> None:
        """Add to a total of a queue: done, failed, cancelled or expired."""
        if number:
            self._ended[queue, outcome] += number

    def write(self, tx: Transaction) -> None:
        """Write everything, table by table always in the same order, so that no two transactions wait crosswise."""
        tables, statements = tx.statements.tables, tx.statements
        tx.woken.update(row["queue"] for row in (*self._returned, *self._ready))
        if self._returned:
            tx.run_many(statements.put_back, self._returned)
        arrivals = (
            (tables.jobs, self._ready),
            (tables.scheduled, self._scheduled),
            (tables.retry, self._retry),
            (tables.dead, self._dead),
        )
        for table, rows in arrivals:
            if rows:
                tx.run_many(statements.put_new(table), rows)
        self._write_totals(tx)

    def _write_totals(self, tx: Transaction) -> None:
        for queue in sorted({queue for queue, _ in self._ended}):
            totals = {name: self._ended[queue, name] for name in COUNTER_COLUMNS}
            tx.run(tx.statements.count, queue=queue, worker=self.worker, **totals)


def add_record(row: Row, record: AttemptRecord) -> None:
    """Append to the job's history; beyond `HISTORY_KEEP_BYTES` the oldest bytes go."""
    row["history"] = append_line(row["history"], encode_record(record))
