"""New jobs on their way into ready or scheduled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import Table

from wg_core.job import NewJob, Timestamp, check_timestamp, milliseconds
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Transaction

_Answer = TypeVar("_Answer")

NewRow = tuple[Any, ...]
"""The columns of `Statements.new_columns`, in their order."""
Arrival = tuple[Table, NewRow]
"""A new job and the table that it goes to."""
Look = Callable[[Collection[str]], set[str]]
"""Tells which of some ids other tables than ready know by now."""


def new_row(tables: Tables, job: NewJob, now: Timestamp) -> Arrival:
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


def store_jobs(tx: Transaction, jobs: Sequence[NewJob], look: Look | None = None) -> set[str]:
    """Store the jobs whose ids are new and return the ids that were stored.

    `look`: by default what `tx` sees, which is enough under READ COMMITTED.
    """
    first_of_id: dict[str, NewJob] = {}
    for job in jobs:
        first_of_id.setdefault(job.id, job)
    arrivals = [new_row(tx.statements.tables, job, tx.now) for job in first_of_id.values()]
    if all(job.id_is_new for job in jobs):
        _for_each_table(tx, arrivals, tx.flavor.insert_new)
        stored = set(first_of_id)
    elif tx.flavor.one_writer:
        stored = set().union(*_for_each_table(tx, arrivals, tx.flavor.store_new))
    else:
        stored = _store_where_ids_meet(tx, arrivals, look or (lambda ids: known_elsewhere(tx, ids)))
    at_once = {row[0] for table, row in arrivals if table is tx.statements.tables.jobs} & stored
    tx.woken.update(job.queue for job in jobs if job.id in at_once)
    return stored


def _for_each_table(
    tx: Transaction, arrivals: Sequence[Arrival], store: Callable[[Transaction, Table, Sequence[NewRow]], _Answer]
) -> list[_Answer]:
    tables = tx.statements.tables
    by_table = [
        (table, [row for destination, row in arrivals if destination is table])
        for table in (tables.jobs, tables.scheduled)
    ]
    return [store(tx, table, rows) for table, rows in by_table if rows]


def _store_where_ids_meet(tx: Transaction, arrivals: Sequence[Arrival], look: Look) -> set[str]:
    """Store jobs under ids that others may be enqueueing at this moment, for now or for later.

    An id is unique in each table, but not in all of them. So all go to ready at first: its index is where enqueues of
    one id wait for each other, and whoever was there before has committed when we come in. What it committed is seen
    only by a statement that begins then; it may be in any table by now, and then our own rows go again.
    """
    tables, statements = tx.statements.tables, tx.statements
    inserted = tx.flavor.store_new(tx, tables.jobs, [row for _, row in arrivals])
    if not inserted:
        return set()
    stored = inserted - look(inserted)
    later = [row for table, row in arrivals if table is tables.scheduled and row[0] in stored]
    leaving = inserted - stored | {row[0] for row in later}
    if leaving:
        tx.taken(statements.drop_ids(tables.jobs), ids=tx.ids(leaving))
    if later:
        tx.flavor.store_new(tx, tables.scheduled, later)
    return stored


def known_elsewhere(tx: Transaction, ids: Collection[str]) -> set[str]:
    """Return which of the ids stand in another table than ready, as the transaction sees it."""
    return set(tx.column(tx.statements.known_elsewhere, ids=tx.ids(ids)))


def register_queues(tx: Transaction, queues: Collection[str]) -> None:
    """Make the queues known, in one order for everybody, so that no two transactions wait crosswise."""
    for queue in sorted(queues):
        tx.run(tx.statements.add_queue, name=queue)
