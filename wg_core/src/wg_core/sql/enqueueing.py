"""New jobs on their way into ready or scheduled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table

from wg_core.job import NewJob, Timestamp, check_timestamp, milliseconds
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Transaction

NewRow = tuple[Any, ...]
"""The columns of `Statements.new_columns`, in their order."""


def new_row(tables: Tables, job: NewJob, now: Timestamp) -> tuple[Table, NewRow]:
    """Return the table that a new job goes to and its row there."""
    delay = milliseconds(job.delay_seconds) if job.delay_seconds else 0
    due = now + delay if job.run_at is None else check_timestamp(job.run_at)
    table, moment = (tables.scheduled, due) if due > now else (tables.jobs, now)
    expires = None if job.expires_in_seconds is None else now + milliseconds(job.expires_in_seconds)
    row = (
        job.id,
        job.name,
        job.queue,
        -job.priority,
        job.body,
        job.max_retries,
        int(job.at_most_once),
        now,
        expires,
        moment,
    )
    return table, row


def store_jobs(tx: Transaction, jobs: Sequence[NewJob]) -> set[str]:
    """Store the jobs whose ids are new, register their queues, and return the ids that were stored."""
    tables = tx.statements.tables
    rows: dict[str, list[NewRow]] = {tables.jobs.name: [], tables.scheduled.name: []}
    first_of_id: dict[str, NewJob] = {}
    for job in jobs:
        first_of_id.setdefault(job.id, job)
    for job in first_of_id.values():
        table, row = new_row(tables, job, tx.now)
        rows[table.name].append(row)
    stored: set[str] = set()
    for table in (tables.jobs, tables.scheduled):
        if rows[table.name]:
            stored |= tx.flavor.store_new(tx, table, rows[table.name])
    return stored


def register_queues(tx: Transaction, queues: Collection[str]) -> None:
    """Make the queues known, in one order for everybody, so that no two transactions wait crosswise."""
    for queue in sorted(queues):
        tx.run(tx.statements.add_queue, name=queue)
