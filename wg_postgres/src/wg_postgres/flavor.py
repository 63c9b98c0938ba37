"""What is particular about PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from sqlalchemy import ARRAY, ColumnElement, Select, String, Table, Text, any_, bindparam, func, literal_column
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.dml import Insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.types import TypeEngine

from wg_core.errors import BackendError
from wg_core.job import Timestamp
from wg_core.sql import Cursor, Flavor, ServerClock, ServerReport, Statements, Transaction, Window
from wg_postgres import joining
from wg_postgres.errors import sort_error
from wg_postgres.health import inspect_server
from wg_postgres.options import PostgresOptions
from wg_postgres.statements import Texts, as_arrays

_SCHEMA_LOCK_SECONDS = 60

_HOT = {
    # Room on each page for the next versions of its rows: heartbeats, progress and counters stay on their page.
    "fillfactor": "85",
    # A queue's tables turn over many times a minute: vacuum by the number of dead rows alone, and without pauses.
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.2",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.1",
    "autovacuum_analyze_threshold": "1000",
}


class PostgresFlavor(Flavor):
    """PostgreSQL 13 or newer."""

    drivers: ClassVar[tuple[str, ...]] = joining.DRIVERS

    def __init__(self, options: PostgresOptions, clock: ServerClock) -> None:
        self.dialect = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
        self.schema = options.schema
        self._options = options
        self._clock = clock
        self._texts: Texts | None = None
        self._may_number: bool | None = None

    def now(self) -> Timestamp:
        """Return the server's time, by its offset."""
        return self._clock.now()

    # ------------------------------------------------------------------ pieces of statements

    def in_list(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return `column = ANY(an array)`, whose plan looks every element up in the index."""
        kind: TypeEngine[Any] = Text() if isinstance(column.type, String) else column.type
        return column == any_(bindparam(name, type_=ARRAY(kind)))

    def in_query(self, column: ColumnElement[Any], query: Select[Any]) -> ColumnElement[bool]:
        """Return `column = ANY(ARRAY(query))`: an InitPlan, which runs once, and an index lookup for each element.

        As a join, a generic plan takes the unknown LIMIT for a tenth of the table and reads it whole.
        """
        return column == any_(func.array(query.scalar_subquery(), type_=ARRAY(column.type)))

    def unindexed(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return an expression of the column, which no index is made for."""
        return func.coalesce(column, literal_column("''"))

    def list_value(self, values: Sequence[Any]) -> list[Any]:
        """Return a list, which psycopg sends as an array."""
        return list(values)

    def insert_ignore(self, table: Table) -> Insert:
        """Return INSERT … ON CONFLICT DO NOTHING, which waits for others who are just inserting the key."""
        return insert(table).on_conflict_do_nothing()

    def insert_or_add(self, table: Table, added: Sequence[str]) -> Insert:
        """Return INSERT … ON CONFLICT DO UPDATE SET n = n + excluded.n."""
        statement = insert(table)
        sums = {name: table.c[name] + statement.excluded[name] for name in added}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)

    # ------------------------------------------------------------------ jobs

    def insert_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert a batch as arrays, one for each column, in one statement."""
        statement = self.texts(tx.statements).insert_new[table.name]
        tx.run(statement, **as_arrays(tx.statements.new_columns(table), rows))

    def store_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Insert a batch as arrays, one for each column, in one statement; what others stored meanwhile stays out."""
        texts = self.texts(tx.statements)
        if self._may_number is None:
            self._may_number = bool(tx.column(texts.may_number)[0])
        statement = texts.store_new[table.name, self._may_number]
        return set(tx.column(statement, **as_arrays(tx.statements.new_columns(table), rows)))

    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        """Move the front of the queue in one statement."""
        taken = tx.rows(self.texts(tx.statements).claim, **parameters)
        return Window([row for row in taken if row[0] is not None], removed=len(taken))

    def texts(self, statements: Statements) -> Texts:
        """Return our own statements, rendered at the first use."""
        if self._texts is None:
            self._texts = Texts(statements, self)
        return self._texts

    def wake_in_transaction(self, tx: Transaction, queues: Collection[str]) -> None:
        """Notify of the queues that somebody waits for."""
        tx.rows(self.texts(tx.statements).wake_waiters, queues=sorted(queues))

    def wake_at_commit(self, tx: Transaction, queues: Collection[str]) -> None:
        """Notify in any case: whoever begins to wait before the caller commits must hear of it."""
        tx.rows(self.texts(tx.statements).wake, queues=sorted(queues))

    # ------------------------------------------------------------------ the caller's transaction

    @property
    def place(self) -> str:
        """Return host and database."""
        return f"the database {self._options.address}"

    def place_of(self, connection: Any) -> str:
        """Ask libpq."""
        return joining.place_of(connection)

    def join(self, connection: Any) -> AbstractContextManager[Cursor]:
        """See `wg_postgres.joining`."""
        return joining.join(connection)

    def sort_joined_error(self, error: Exception) -> BackendError | None:
        """See `wg_postgres.joining`."""
        return joining.sort_error(error, self._options.address)

    # ------------------------------------------------------------------ schema

    def text(self, length: int) -> TypeEngine[str]:
        """Return a text that compares by code point, whatever language the database sorts by."""
        return String(length, collation="C")

    def table_suffix(self, table: Table, *, is_hot: bool) -> str:
        """Return storage parameters against bloat for the tables that are written all the time."""
        return f" WITH ({', '.join(f'{name}={value}' for name, value in _HOT.items())})" if is_hot else ""

    def new_store_id(self) -> ColumnElement[str]:
        """Return 32 random hexadecimal digits; PostgreSQL 12 has no function for a UUID."""
        return func.md5(func.concat(func.random(), func.clock_timestamp(), func.pg_backend_pid()))

    def existing_tables(self, tx: Transaction, names: Sequence[str]) -> set[str]:
        """Ask the catalogue for what stands in our schema, or on the search path."""
        query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relname = ANY(%s) AND "
        if self.schema is None:
            tx.cursor.execute(query + "pg_table_is_visible(oid)", (list(names),))
        else:
            in_schema = "relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
            tx.cursor.execute(query + in_schema, (list(names), self.schema))
        return {row[0] for row in tx.cursor.fetchall()}

    def schema_exists(self, tx: Transaction) -> bool:
        """Ask the catalogue."""
        if self.schema is None:
            return True
        tx.cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,))
        return bool(tx.cursor.fetchall())

    def lock_schema(self, tx: Transaction) -> AbstractContextManager[None]:
        """Take an advisory lock until the transaction ends."""
        tx.cursor.execute(f"SET LOCAL lock_timeout = '{_SCHEMA_LOCK_SECONDS}s'", ())
        tx.cursor.execute("SET LOCAL statement_timeout = 0", ())  # an index on many jobs takes its time
        name = f"wg schema {self.schema or ''}.{tx.statements.tables.namespace}"
        tx.cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
        return nullcontext()

    # ------------------------------------------------------------------ the server

    def inspect_server(self, tx: Transaction) -> ServerReport:
        """See `wg_postgres.health`."""
        return inspect_server(tx)

    def sort_error(self, error: Exception, *, committing: bool) -> BackendError | None:
        """See `wg_postgres.errors`."""
        return sort_error(error, self._options.address, committing=committing)
