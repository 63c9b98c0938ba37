"""The tables of one namespace, `{namespace}_jobs` and so on, for every SQL store.

One table for each state a job can be in, so that the index a worker claims from holds nothing but ready jobs, and
a job is always in exactly one of them. All carry the same columns of the job (`JOB_COLUMNS`) and the few of their
state. There are no foreign keys: they would lock parent rows on the hot path.

============ ============================== =====================================================================
table        key                            what else is indexed
============ ============================== =====================================================================
`jobs`       `seq`, unique `id`             (queue, rank, seq): exactly the order in which jobs are claimed
`scheduled`  `seq`, unique `id`             (run_at, seq): the order of promotion
`retry`      `seq`, unique `id`             (run_at, seq)
`running`    `seq`, unique `id`             worker; worker where a cancel is pending (one index of both columns
                                            where there are no partial indexes)
`dead`       `id`                           (ended_at, id)
`workers`    `id`                           lease_until
`queues`     `name`
`requests`   (worker, operation)            the last request number and its answer
`counters`   (queue, worker)                totals of ended jobs; worker '' holds those of forgotten workers
`meta`       `key`                          the schema's version, and an id that the store gave itself
============ ============================== =====================================================================

`rank` is the negated priority: every index then runs upwards (MariaDB 10.6 ignores DESC in an index). `seq` gives
first in, first out; it stays with a job that is released or rescued and is new for one that is promoted. Times are
milliseconds, flags are 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from wg_core.job import JobState

JOB_COLUMNS = (
    "id",
    "name",
    "queue",
    "rank",
    "body",
    "attempt",
    "max_retries",
    "lease_no",
    "at_most_once",
    "crashes",
    "snoozes",
    "bounces",
    "enqueued_at",
    "expires_at",
    "history",
)
"""What every job table knows of a job."""

COUNTER_COLUMNS = ("done", "failed", "cancelled", "expired")

_LONG_BLOB = 2**32 - 1  # MySQL picks its blob type by this length; the others ignore it


class Tables:
    """SQLAlchemy tables of one namespace, in a database schema if one is named.

    `text` gives the type of a text column of so many characters. `table_options` are dialect options of every table,
    such as `mysql_charset`.
    """

    def __init__(
        self,
        namespace: str,
        *,
        schema: str | None = None,
        text: Callable[[int], TypeEngine[str]] = String,
        partial_indexes: bool = True,
        **table_options: Any,
    ) -> None:
        self.namespace = namespace
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self._text = text
        self._partial_indexes = partial_indexes
        self._options = table_options
        self.jobs = self._job_table("jobs", _seq(), _big("ready_at"), ordered_by=("queue", "rank", "seq"))
        self.scheduled = self._job_table("scheduled", _seq(), _big("run_at"), ordered_by=("run_at", "seq"))
        self.retry = self._job_table("retry", _seq(), _big("run_at"), ordered_by=("run_at", "seq"))
        self.running = self._running_table()
        self.dead = self._job_table("dead", _big("ended_at"), ordered_by=("ended_at", "id"))
        self.by_state = {
            JobState.SCHEDULED: self.scheduled,
            JobState.READY: self.jobs,
            JobState.RUNNING: self.running,
            JobState.RETRY: self.retry,
            JobState.DEAD: self.dead,
        }
        self.waiting = (self.jobs, self.scheduled, self.retry)
        for table in self.waiting:
            self._index(table, "expires", "expires_at", where="expires_at IS NOT NULL")
        self._add_housekeeping()
        self.hot = frozenset(
            {*self.waiting, self.running, self.workers, self.requests, self.counters}  # nearly every call writes them
        )
        self.names = tuple(table.name for table in self.metadata.tables.values())
        self._columns = {
            table.name: tuple(column.name for column in table.columns) for table in self.metadata.tables.values()
        }

    def name(self, short: str) -> str:
        """Return the full name of a table or index."""
        return f"{self.namespace}_{short}"

    def state_of(self, table: Table) -> JobState:
        """Return the state of the jobs in a job table."""
        return next(state for state, candidate in self.by_state.items() if candidate is table)

    def columns(self, table: Table) -> tuple[str, ...]:
        """Return the column names of a table, in its order."""
        return self._columns[table.name]

    def _running_table(self) -> Table:
        table = self._job_table(
            "running",
            _seq(numbers_itself=False),
            _big("ready_at"),
            Column("worker", self._text(64), nullable=False),
            _big("reserved_at"),
            _big("request_no"),
            _flag("started"),
            _flag("cancel_requested"),
            Column("progress", LargeBinary(_LONG_BLOB)),
        )
        if self._partial_indexes:
            self._index(table, "worker", "worker")
            # Nearly always empty, so that looking for pending cancels at every beat costs nothing.
            self._index(table, "cancels", "worker", where="cancel_requested = 1")
        else:
            self._index(table, "worker", "worker", "cancel_requested")  # serves both, for the price of one
        return table

    def _job_table(self, short: str, *extra: Column[Any], ordered_by: tuple[str, ...] = ()) -> Table:
        has_seq = any(column.name == "seq" for column in extra)
        table = self._table(short, *self._job_columns(id_is_key=not has_seq), *extra)
        if ordered_by:
            self._index(table, "order", *ordered_by)
        return table

    def _add_housekeeping(self) -> None:
        self.workers = self._small_table(
            "workers",
            Column("id", self._text(64), primary_key=True),
            _big("lease_until"),
            _flag("gone"),
            _big("registered_at"),
            Column("info", LargeBinary(_LONG_BLOB)),
        )
        self._index(self.workers, "lease", "lease_until")
        self.queues = self._small_table("queues", Column("name", self._text(200), primary_key=True), _flag("paused"))
        self.requests = self._small_table(
            "requests",
            Column("worker", self._text(64), primary_key=True),
            Column("operation", self._text(16), primary_key=True),
            _big("request_no"),
            Column("answer", LargeBinary(_LONG_BLOB)),
        )
        self.counters = self._small_table(
            "counters",
            Column("queue", self._text(200), primary_key=True),
            Column("worker", self._text(64), primary_key=True),
            *(_count(name) for name in COUNTER_COLUMNS),
        )
        self.meta = self._small_table(
            "meta", Column("key", self._text(64), primary_key=True), Column("value", self._text(255), nullable=False)
        )

    def _job_columns(self, *, id_is_key: bool) -> list[Column[Any]]:
        return [
            Column("id", self._text(64), primary_key=True)
            if id_is_key
            else Column("id", self._text(64), nullable=False, unique=True),
            Column("name", self._text(200), nullable=False),
            Column("queue", self._text(200), nullable=False),
            Column("rank", SmallInteger, nullable=False),
            Column("body", LargeBinary(_LONG_BLOB), nullable=False),
            _count("attempt"),
            Column("max_retries", BigInteger, nullable=False),
            _count("lease_no"),
            _flag("at_most_once"),
            _count("crashes"),
            _count("snoozes"),
            _count("bounces"),
            _big("enqueued_at"),
            Column("expires_at", BigInteger),
            Column("history", LargeBinary(_LONG_BLOB)),
        ]

    def _table(self, short: str, *items: SchemaItem) -> Table:
        return Table(self.name(short), self.metadata, *items, **self._options)

    def _small_table(self, short: str, *items: SchemaItem) -> Table:
        """Return a table of short rows, which SQLite keeps in the index of the key: one page less to write."""
        return Table(self.name(short), self.metadata, *items, sqlite_with_rowid=False, **self._options)

    def _index(self, table: Table, purpose: str, *columns: str, where: str | None = None) -> None:
        condition: dict[str, Any] = (
            {} if where is None else {"sqlite_where": text(where), "postgresql_where": text(where)}
        )
        Index(f"{table.name}_{purpose}", *(table.columns[name] for name in columns), **condition)


def _seq(*, numbers_itself: bool = True) -> Column[Any]:
    # SQLite numbers rows by itself only in a column declared INTEGER PRIMARY KEY. On PostgreSQL an identity column
    # needs no right on a sequence, and on MySQL it is AUTO_INCREMENT.
    kind = BigInteger().with_variant(Integer(), "sqlite")
    numbering = [Identity()] if numbers_itself else []
    return Column("seq", kind, *numbering, primary_key=True, autoincrement=numbers_itself)


def _big(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)


def _count(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[Any]:
    return Column(name, SmallInteger, nullable=False, server_default=text("0"))
