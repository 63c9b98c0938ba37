"""Statements that promote, alter and prune."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    ClauseElement,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, ZERO, StatementSet


class Moves(StatementSet):
    """How jobs leave the states in which nobody holds them."""

    def due_times(self, table: Table) -> Prepared:
        """Return when the next `limit` jobs are due, soonest first."""
        return self.of_table(
            "due_times",
            table,
            lambda: select(table.c.run_at).order_by(table.c.run_at, table.c.seq).limit(bindparam("limit")),
        )

    def take_due(self, table: Table) -> Prepared:
        """Take the first `limit` jobs that are due."""

        def compose() -> ClauseElement:
            waiting = table.alias("waiting")
            due = (
                select(waiting.c.seq)
                .where(waiting.c.run_at <= bindparam("now"))
                .order_by(waiting.c.run_at, waiting.c.seq)
                .limit(bindparam("limit"))
                .with_for_update(skip_locked=True)
            )
            return self.take_all(table, self.flavor.in_query(table.c.seq, due))

        return self.of_table("take_due", table, compose)

    def take_ids(self, table: Table) -> Prepared:
        """Take jobs by id."""
        return self.of_table("take_ids", table, lambda: self.take_all(table, self.ids(table)))

    def lock_ids(self, table: Table) -> Prepared:
        """Return which of the ids are in the table, and lock them."""
        return self.of_table("lock_ids", table, lambda: select(table.c.id).where(self.ids(table)).with_for_update())

    def set_rank(self, table: Table) -> Prepared:
        """Change the priority of jobs by id."""
        return self.of_table(
            "set_rank", table, lambda: update(table).where(self.ids(table)).values(rank=bindparam("new_rank"))
        )

    @cached_property
    def request_cancel(self) -> Prepared:
        """Mark running jobs as to be cancelled."""
        running = self.tables.running
        return self.prepare(update(running).where(self.ids(running)).values(cancel_requested=ONE))

    def take_expired(self, table: Table) -> Prepared:
        """Delete up to `limit` waiting jobs whose time ran out; answers their queues."""

        def compose() -> ClauseElement:
            waiting = table.alias("waiting")
            over = (
                select(waiting.c.seq)
                .where(waiting.c.expires_at.is_not(None), waiting.c.expires_at <= bindparam("now"))
                .order_by(waiting.c.expires_at)
                .limit(bindparam("limit"))
                .with_for_update(skip_locked=True)
            )
            return delete(table).where(self.flavor.in_query(table.c.seq, over)).returning(table.c.queue)

        return self.of_table("take_expired", table, compose)

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
