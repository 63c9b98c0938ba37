"""Statements of report; each carries the fence (id, worker, lease_no) itself."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    ColumnElement,
    bindparam,
    select,
    update,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, StatementSet, Take
from wg_core.sql.tables import COUNTER_COLUMNS


class Reports(StatementSet):
    """How running jobs change or end."""

    def _fence(self) -> list[ColumnElement[bool]]:
        running = self.tables.running
        return [
            self.flavor.unindexed(running.c.worker) == bindparam("worker"),
            running.c.lease_no == bindparam("lease_no"),
        ]

    @cached_property
    def finish(self) -> Take:
        """Take held jobs that are over; answers (id, queue, seq)."""
        running = self.tables.running
        held = (self.ids(running), *self._fence())
        return self.take_where(running, self.id_index(running), *held, columns=("id", "queue", "seq"))

    @cached_property
    def take_held(self) -> Take:
        """Take held jobs; answers all columns of running."""
        running = self.tables.running
        return self.take_where(running, self.id_index(running), self.ids(running), *self._fence())

    @cached_property
    def lock_held(self) -> Prepared:
        """Return which of the ids are held, and lock them."""
        running = self.tables.running
        held = select(running.c.id).where(self.ids(running), *self._fence()).with_for_update()
        return self.prepare(self.flavor.along_index(held, running, self.id_index(running)))

    @cached_property
    def mark_started(self) -> Prepared:
        """Note that the handlers of held jobs are about to run."""
        running = self.tables.running
        statement = update(running).where(self.ids(running), *self._fence()).values(started=ONE)
        return self.prepare(self.flavor.updated_along_index(statement, self.id_index(running)))

    @cached_property
    def set_progress(self) -> Prepared:
        """Store how far a held job is."""
        running = self.tables.running
        held = (running.c.id == bindparam("job_id"), *self._fence())
        return self.prepare(update(running).where(*held).values(progress=bindparam("value")))

    @cached_property
    def count(self) -> Prepared:
        """Add to the totals of a queue."""
        columns = ("queue", "worker", *COUNTER_COLUMNS)
        upsert = self.flavor.insert_or_add(self.tables.counters, COUNTER_COLUMNS)
        return self.prepare(upsert.values({name: bindparam(name) for name in columns}))
