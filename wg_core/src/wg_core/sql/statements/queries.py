"""Statements for people: records, pages and counts. None is on the hot path, none depends on the length of a table."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    LargeBinary,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.types import TypeEngine

from wg_core.job import JobState
from wg_core.protocol import COUNT_CAP
from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, ZERO, StatementSet
from wg_core.sql.tables import COUNTER_COLUMNS, JOB_COLUMNS

_OF_STATE: dict[str, TypeEngine[Any]] = {
    "run_at": BigInteger(),
    "ended_at": BigInteger(),
    "reserved_at": BigInteger(),
    "worker": String(64),
    "started": BigInteger(),
    "cancel_requested": BigInteger(),
    "progress": LargeBinary(),
}
RECORD_COLUMNS = ("state", *JOB_COLUMNS, *_OF_STATE)
"""What is answered of a job for people; columns that its state does not have are null."""

PAGE_KEYS = {
    JobState.READY: ("queue", "rank", "seq"),
    JobState.SCHEDULED: ("run_at", "seq"),
    JobState.RETRY: ("run_at", "seq"),
    JobState.RUNNING: ("id",),
    JobState.DEAD: ("ended_at", "id"),
}
"""The columns of the index along which a state is paged."""


class Queries(StatementSet):
    """What people ask."""

    @cached_property
    def records(self) -> Prepared:
        """Return the records of ids, from whatever table they are in."""
        return self.prepare(union_all(*(self._record(state) for state in self.tables.by_state)))

    @cached_property
    def states(self) -> Prepared:
        """Return (id, state) of ids."""
        return self.prepare(
            union_all(
                *(
                    select(table.c.id, _name_of(state)).where(self.ids(table))
                    for state, table in self.tables.by_state.items()
                )
            )
        )

    def _record(self, state: JobState) -> Select[tuple[object, ...]]:
        table = self.tables.by_state[state]
        of_state = [
            table.c[name] if name in table.columns else cast(null(), kind).label(name)
            for name, kind in _OF_STATE.items()
        ]
        common = [table.c[name] for name in JOB_COLUMNS]
        return select(_name_of(state), *common, *of_state).where(self.ids(table))

    def page(self, state: JobState, *, fixed: int, after: bool) -> Prepared:
        """Return (id, name, queue, *key) of jobs along the index of a state, dead ones downwards.

        The first `fixed` columns of the key equal the parameters of their name, and with `after` the next column is
        beyond its parameter. A page that begins in the middle of an index is a chain of such ranges, because not
        every database uses an index for `(a, b, c) > (x, y, z)`.
        """
        table, key = self.tables.by_state[state], PAGE_KEYS[state]
        columns = [table.c[name] for name in key]
        downwards = state is JobState.DEAD

        def compose() -> ClauseElement:
            query = select(table.c.id, table.c.name, table.c.queue, *columns)
            for column in columns[:fixed]:
                query = query.where(column == bindparam(f"key_{column.name}"))
            if after:
                beyond: ColumnElement[Any] = bindparam(f"key_{columns[fixed].name}")
                query = query.where(columns[fixed] < beyond if downwards else columns[fixed] > beyond)
            order = [column.desc() if downwards else column for column in columns]
            index = self.id_index(table) if state is JobState.RUNNING else f"{table.name}_order"
            return self.flavor.along_index(query.order_by(*order).limit(bindparam("limit")), table, index)

        return self.of_table(f"page {fixed} {after}", table, compose)

    @cached_property
    def store_id(self) -> Prepared:
        """Return the id that the store gave itself; no row before schema version 2."""
        meta = self.tables.meta
        return self.prepare(select(meta.c.value).where(meta.c.key == literal_column("'store_id'")))

    # ------------------------------------------------------------------ counts

    @cached_property
    def all_queues(self) -> Prepared:
        """Return (name, paused) of every queue."""
        queues = self.tables.queues
        return self.prepare(select(queues.c.name, queues.c.paused).order_by(queues.c.name))

    @cached_property
    def totals(self) -> Prepared:
        """Return the totals of ended jobs by queue."""
        counters = self.tables.counters
        sums = [func.sum(counters.c[name]) for name in COUNTER_COLUMNS]
        return self.prepare(select(counters.c.queue, *sums).group_by(counters.c.queue))

    @cached_property
    def ready_in_queue(self) -> Prepared:
        """Return how many jobs are ready in a queue, counting to one beyond the cap."""
        jobs = self.tables.jobs
        return self._capped(jobs, jobs.c.queue == bindparam("queue"))

    @cached_property
    def held_by(self) -> Prepared:
        """Return how many jobs a worker holds, counting to one beyond the cap."""
        running = self.tables.running
        return self._capped(running, running.c.worker == bindparam("worker"))

    def length(self, table: Table) -> Prepared:
        """Return how many rows a table has, counting to one beyond the cap."""
        return self.of_table("length", table, lambda: self._capped_query(table))

    def count_by_queue(self, table: Table) -> Prepared:
        """Return the exact number of jobs by queue."""
        return self.of_table("by_queue", table, lambda: select(table.c.queue, func.count()).group_by(table.c.queue))

    @cached_property
    def next_rank(self) -> Prepared:
        """Return (rank, seq, ready_at) of the first job of the next lower priority in a queue."""
        jobs = self.tables.jobs
        return self.prepare(
            select(jobs.c.rank, jobs.c.seq, jobs.c.ready_at)
            .where(jobs.c.queue == bindparam("queue"), jobs.c.rank > bindparam("after_rank"))
            .order_by(jobs.c.rank, jobs.c.seq)
            .limit(ONE)
        )

    @cached_property
    def live_workers(self) -> Prepared:
        """Return how many workers have a live lease."""
        workers = self.tables.workers
        return self.prepare(
            select(func.count())
            .select_from(workers)
            .where(workers.c.lease_until > bindparam("now"), workers.c.gone == ZERO)
        )

    @cached_property
    def all_workers(self) -> Prepared:
        """Return (id, info, lease_until) of all workers, oldest first."""
        workers = self.tables.workers
        return self.prepare(
            select(workers.c.id, workers.c.info, workers.c.lease_until).order_by(workers.c.registered_at, workers.c.id)
        )

    def _capped(self, table: Table, *conditions: ColumnElement[bool]) -> Prepared:
        return self.prepare(self._capped_query(table, *conditions))

    def _capped_query(self, table: Table, *conditions: ColumnElement[bool]) -> ClauseElement:
        some = select(ONE.label("one")).select_from(table).where(*conditions)
        return select(func.count()).select_from(some.limit(literal_column(str(COUNT_CAP + 1))).subquery("some"))


def _name_of(state: JobState) -> ColumnElement[str]:
    return literal_column(f"'{state.value}'", String).label("state")
