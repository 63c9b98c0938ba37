"""Statements that bring jobs into a table: new ones, and those that moved."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Table,
    bindparam,
    exists,
    insert,
    select,
    union_all,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import StatementSet, Take

_NEW = ("id", "name", "queue", "rank", "body", "max_retries", "at_most_once", "enqueued_at", "expires_at")


class Arrivals(StatementSet):
    """How jobs come in."""

    @staticmethod
    def new_columns(table: Table) -> tuple[str, ...]:
        """Return the columns of a new job in `jobs` or `scheduled`: the last is when it is ready or due."""
        return (*_NEW, "ready_at" if "ready_at" in table.columns else "run_at")

    def enqueue_one(self, table: Table) -> Prepared:
        """Insert one new job unless its id is known: one statement, so it can be a transaction of its own.

        It may reach a server late, after the client gave up waiting and sent it again: so it looks, be the id new or
        not.
        """

        def compose() -> ClauseElement:
            columns = self.new_columns(table)
            # In its own table too: a conflict is not noticed where another transaction just moves the job away.
            # By parameters and not by a subquery that names them: MariaDB would plan that for longer than it inserts.
            new = {name: _typed(table, name) for name in columns}
            unknown = [~exists().where(known.columns.id == new["id"]) for known in self.tables.by_state.values()]
            numbered, values = self._with_new_seq(table, list(new.values()))
            source = select(*values).where(*unknown)
            names = [*numbered, *columns]
            return insert(table).from_select(names, source, include_defaults=False)

        return self.of_table("enqueue_one", table, compose)

    def insert_new(self, table: Table) -> Prepared:
        """Insert a job whose id was never used before; parameters are `new_columns`, in their order."""
        return self._insert(table, "insert_new", self.new_columns(table))

    @cached_property
    def known_ids(self) -> Prepared:
        """Return which of the ids exist in any job table."""
        return self.prepare(
            union_all(*(select(table.c.id).where(self.ids(table)) for table in self.tables.by_state.values()))
        )

    @cached_property
    def known_elsewhere(self) -> Prepared:
        """Return which of the ids exist in a job table other than ready."""
        others = (table for table in self.tables.by_state.values() if table is not self.tables.jobs)
        return self.prepare(union_all(*(select(table.c.id).where(self.ids(table)) for table in others)))

    def drop_ids(self, table: Table) -> Take:
        """Delete jobs that this transaction has inserted, by id; answers (queue, seq).

        A locking read would lock, in a caller's transaction at REPEATABLE READ, the gap before them on InnoDB, too, and
        nobody could enqueue ids that belong there.
        """

        def compose() -> Take:
            own = self.ids(table)
            return self.take_where(table, self.id_index(table), own, columns=("queue", "seq"), locks=False)

        return self.take_of_table("drop_ids", table, compose)

    @cached_property
    def add_queue(self) -> Prepared:
        """Register a queue."""
        return self.prepare(self.flavor.insert_ignore(self.tables.queues).values(name=bindparam("name")))

    def put_new(self, table: Table) -> Prepared:
        """Insert a job under a new sequence number (`dead` and `running` have no numbers of their own)."""
        columns = [name for name in self.tables.columns(table) if name != "seq"]
        return self._insert(table, "put_new", tuple(columns))

    @cached_property
    def put_back(self) -> Prepared:
        """Insert a job into ready under the sequence number that it had."""
        jobs = self.tables.jobs
        return self.prepare(insert(jobs).values({name: bindparam(name) for name in self.tables.columns(jobs)}))

    def _insert(self, table: Table, kind: str, columns: tuple[str, ...]) -> Prepared:
        def compose() -> ClauseElement:
            numbered, values = self._with_new_seq(table, [bindparam(name) for name in columns])
            return insert(table).values(dict(zip((*numbered, *columns), values, strict=True)))

        return self.of_table(kind, table, compose)

    def _with_new_seq(
        self, table: Table, values: list[ColumnElement[Any]]
    ) -> tuple[tuple[str, ...], list[ColumnElement[Any]]]:
        new_seq = self.flavor.new_seq(self.tables) if table is self.tables.jobs else None
        return ((), values) if new_seq is None else (("seq",), [new_seq, *values])


def _typed(table: Table, name: str) -> ColumnElement[Any]:
    """Return a parameter for a column where nothing else tells its type to the database."""
    return bindparam(name, type_=table.c[name].type)
