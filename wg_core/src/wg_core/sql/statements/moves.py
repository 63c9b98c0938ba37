"""Statements that promote, alter and prune."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    ClauseElement,
    Table,
    bindparam,
    func,
    select,
    update,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, ZERO, StatementSet, Take


class Moves(StatementSet):
    """How jobs leave the states in which nobody holds them."""

    def due_times(self, table: Table) -> Prepared:
        """Return when the next `limit` jobs are due, soonest first."""

        def compose() -> ClauseElement:
            times = select(table.c.run_at).order_by(table.c.run_at, table.c.seq).limit(bindparam("limit"))
            return self.flavor.along_index(times, table, f"{table.name}_order")

        return self.of_table("due_times", table, compose)

    def take_due(self, table: Table) -> Take:
        """Take the first `limit` jobs that are due."""

        def compose() -> Take:
            due = (
                select(table)
                .where(table.c.run_at <= bindparam("now"))
                .order_by(table.c.run_at, table.c.seq)
                .limit(bindparam("limit"))
                .with_for_update(skip_locked=True)
            )
            return self.take_found(table, self.flavor.along_index(due, table, f"{table.name}_order"))

        return self.take_of_table("due", table, compose)

    def take_ids(self, table: Table) -> Take:
        """Take jobs by id."""
        return self.take_of_table("ids", table, lambda: self.take_where(table, self.id_index(table), self.ids(table)))

    def lock_ids(self, table: Table) -> Prepared:
        """Return which of the ids are in the table, and lock them."""

        def compose() -> ClauseElement:
            # With a column that is in no index: what an index alone can answer is read, and locked, from end to end.
            found = select(table.c.id, table.c.name).where(self.ids(table)).with_for_update()
            return self.flavor.along_index(found, table, self.id_index(table))

        return self.of_table("lock_ids", table, compose)

    def set_rank(self, table: Table) -> Prepared:
        """Change the priority of jobs by id."""

        def compose() -> ClauseElement:
            statement = update(table).where(self.ids(table)).values(rank=bindparam("new_rank"))
            return self.flavor.updated_along_index(statement, self.id_index(table))

        return self.of_table("set_rank", table, compose)

    @cached_property
    def request_cancel(self) -> Prepared:
        """Mark running jobs as to be cancelled."""
        running = self.tables.running
        statement = update(running).where(self.ids(running)).values(cancel_requested=ONE)
        return self.prepare(self.flavor.updated_along_index(statement, self.id_index(running)))

    def take_expired(self, table: Table) -> Take:
        """Take up to `limit` waiting jobs whose time ran out; answers (queue, seq)."""

        def compose() -> Take:
            over = (
                select(table.c.queue, table.c.seq)
                .where(table.c.expires_at.is_not(None), table.c.expires_at <= bindparam("now"))
                .order_by(table.c.expires_at)
                .limit(bindparam("limit"))
                .with_for_update(skip_locked=True)
            )
            return self.take_found(table, self.flavor.along_index(over, table, f"{table.name}_expires"))

        return self.take_of_table("expired", table, compose)

    @cached_property
    def oldest_dead(self) -> Prepared:
        """Return the ids of the `limit` dead jobs that ended first, at the latest at `ended_by`."""
        dead = self.tables.dead
        return self.prepare(
            select(dead.c.id)
            .where(dead.c.ended_at <= bindparam("ended_by"))
            .order_by(dead.c.ended_at, dead.c.id)
            .limit(bindparam("limit"))
        )

    @cached_property
    def count_dead(self) -> Prepared:
        """Return how many dead jobs there are, counting to `limit`."""
        some = select(ONE.label("one")).select_from(self.tables.dead).limit(bindparam("limit")).subquery("some")
        return self.prepare(select(func.count()).select_from(some))

    def set_paused(self, *, paused: bool) -> Prepared:
        """Pause or resume a queue that is registered."""
        queues = self.tables.queues
        value = ONE if paused else ZERO
        return self.of_table(
            "pause" if paused else "resume",
            queues,
            lambda: update(queues).where(queues.c.name == bindparam("queue")).values(paused=value),
        )
