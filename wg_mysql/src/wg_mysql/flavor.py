"""What is particular about MySQL and MariaDB."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

import msgspec
import pymysql
from sqlalchemy import ClauseElement, ColumnElement, Select, Table, Update, bindparam, func, insert, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.sql.dml import Insert

from wg_core.errors import BackendError
from wg_core.sql import CLAIMED, ConflictError, Cursor, Flavor, ServerClock, ServerReport, Transaction, Window
from wg_core.sql.statements.base import ONE
from wg_mysql import joining
from wg_mysql.errors import sort_error
from wg_mysql.health import inspect_server
from wg_mysql.options import MySQLOptions
from wg_mysql.server import Server

_SCHEMA_LOCK_SECONDS = 60


class MySQLFlavor(Flavor):
    """The common subset of MariaDB 10.6 and MySQL 8.0.1, and of what is newer."""

    ddl_commits: ClassVar[bool] = True
    partial_indexes: ClassVar[bool] = False
    deletes_lock_others: ClassVar[bool] = True
    drivers: ClassVar[tuple[str, ...]] = joining.DRIVERS

    def __init__(self, options: MySQLOptions, clock: ServerClock) -> None:
        self.dialect = MySQLDialect_pymysql(paramstyle="format")
        self._options = options
        self._clock = clock
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server, known since the first connection, and so to everybody who holds a transaction."""
        assert self._server is not None
        return self._server

    @server.setter
    def server(self, server: Server) -> None:
        self._server = server
        returning = self._options.returning
        self.deletes_return_rows = server.is_mariadb if returning is None else returning

    @property
    def place(self) -> str:
        """Return host, port and database."""
        return self._options.place

    def now(self) -> int:
        """Return the server's time."""
        return self._clock.now()

    def along_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """Force the index: the planner would rather read, and lock, all of a table that it takes for tiny."""
        return query.with_hint(table, f"FORCE INDEX ({index})", "mysql")

    def updated_along_index(self, statement: Update, index: str) -> Update:
        """Force the index, for the same reason."""
        return statement.with_hint(f"FORCE INDEX ({index})", dialect_name="mysql")

    def in_list(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return `column IN %s`; `spread_lists` makes one parameter of each element."""
        return column.bool_op("IN")(bindparam(name))

    def list_value(self, values: Sequence[Any]) -> list[Any]:
        """Return a list."""
        return list(values)

    def delete_keys(self, table: Table, key: ColumnElement[Any], name: str) -> ClauseElement:
        """Join the keys to the table: of `seq IN (…)` planners make a scan of a small table, whatever the hint."""
        if key.name != "seq":
            return super().delete_keys(table, key, name)
        return text(
            f"DELETE {table.name} FROM JSON_TABLE(:{name}, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS gone "
            f"STRAIGHT_JOIN {table.name} FORCE INDEX (PRIMARY) ON {table.name}.seq = gone.seq"
        )

    def keys_value(self, keys: Sequence[Any]) -> Any:
        """Return a JSON array of sequence numbers, a list of ids."""
        return msgspec.json.encode(keys).decode() if isinstance(keys[0], int) else self.list_value(keys)

    def insert_ignore(self, table: Table) -> Insert:
        """Return INSERT IGNORE; our cursor sees to it that nothing but a known key is ignored."""
        return insert(table).prefix_with("IGNORE")

    def insert_or_add(self, table: Table, added: Sequence[str]) -> Insert:
        """Return INSERT … ON DUPLICATE KEY UPDATE n = n + VALUES(n), which both products understand."""
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update({name: table.c[name] + statement.inserted[name] for name in added})

    def store_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Look which ids are known, then insert the others; if some come to be known meanwhile, one by one."""
        look = tx.statements.of_table("known", table, lambda: _known(tx))
        known = set(tx.column(look, ids=msgspec.json.encode([row[0] for row in rows]).decode()))
        new = [row for row in rows if row[0] not in known]
        if not new:
            return set()
        ignoring = tx.statements.of_table("ignoring", table, lambda: _insert_new(tx, table)).text
        tx.cursor.execute("SAVEPOINT wg_store_new", ())
        tx.cursor.executemany(ignoring, new)
        if tx.cursor.rowcount == len(new):
            return {row[0] for row in new}
        tx.cursor.execute("ROLLBACK TO SAVEPOINT wg_store_new", ())
        return {row[0] for row in new if _inserted(tx, ignoring, row)}

    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        """Lock and read the front of the queue, then copy it to running and delete it, by key."""
        tables, statements = tx.statements.tables, tx.statements
        front = tx.rows(statements.of_table("front", tables.jobs, lambda: self._front(tx)), **parameters)
        if not front:
            return Window([], removed=0)
        keys = [row[CLAIMED.index("seq")] for row in front]
        alive = [row[:-1] for row in front if row[-1] is None or row[-1] > parameters["now"]]
        if alive:
            copy = statements.of_table("copy", tables.running, lambda: self._copy(tx))
            if tx.run(copy, keys=keys, **parameters) < len(alive):  # a job that runs already, which is dropped
                mine = {row[0] for row in tx.rows(statements.claimed_before, **parameters)}
                alive = [row for row in alive if row[CLAIMED.index("id")] in mine]
        tx.run(statements.of_table("drop", tables.jobs, lambda: self._drop(tx)), keys=self.keys_value(keys))
        return Window(alive, removed=len(front))

    def _front(self, tx: Transaction) -> ClauseElement:
        """Return `CLAIMED`, as the jobs will be, and `expires_at` of the first jobs of a queue."""
        jobs = tx.statements.tables.jobs
        changed = {
            "attempt": jobs.c.attempt + ONE,
            "lease_no": jobs.c.lease_no + ONE,
            "reserved_at": bindparam("now"),
        }
        columns = [changed[name] if name in changed else jobs.c[name] for name in CLAIMED]
        front = (
            select(*columns, jobs.c.expires_at)
            .where(jobs.c.queue == bindparam("queue"))
            .order_by(jobs.c.rank, jobs.c.seq)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
        return self.along_index(front, jobs, f"{jobs.name}_order")

    def _copy(self, tx: Transaction) -> ClauseElement:
        jobs = tx.statements.tables.jobs
        names, source = tx.statements.claimed(jobs)
        window = source.where(self.in_list(jobs.c.seq, "keys"))
        return self.insert_ignore(tx.statements.tables.running).from_select(names, window, include_defaults=False)

    def _drop(self, tx: Transaction) -> ClauseElement:
        jobs = tx.statements.tables.jobs
        return self.delete_keys(jobs, jobs.c.seq, "keys")

    # ------------------------------------------------------------------ the caller's transaction

    def place_of(self, connection: Any) -> str:
        """Ask the server."""
        return joining.place_of(connection)

    def join(self, connection: Any) -> AbstractContextManager[Cursor]:
        """See `wg_mysql.joining`."""
        return joining.join(connection)

    def sort_joined_error(self, error: Exception) -> BackendError | None:
        """See `wg_mysql.joining`."""
        return joining.sort_error(error, self._options.place)

    # ------------------------------------------------------------------ the schema and the server

    def existing_tables(self, tx: Transaction, names: Sequence[str]) -> set[str]:
        """Ask information_schema for the tables of our database."""
        tx.cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN %s",
            (list(names),),
        )
        return {row[0] for row in tx.cursor.fetchall()}

    def existing_parts(self, tx: Transaction, names: Sequence[str]) -> set[tuple[str, str]]:
        """Ask information_schema for indexes and columns."""
        tx.cursor.execute(
            "SELECT table_name, index_name FROM information_schema.statistics "
            "WHERE table_schema = DATABASE() AND table_name IN %s "
            "UNION SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name IN %s",
            (list(names), list(names)),
        )
        return {(table, part) for table, part in tx.cursor.fetchall()}

    @contextmanager
    def lock_schema(self, tx: Transaction) -> Iterator[None]:
        """Hold a named lock of the session, because DDL would end the transaction."""
        lock = f"CONCAT('wg:', MD5(CONCAT(DATABASE(), '.{tx.statements.tables.namespace}')))"
        self._take_lock(tx, lock)
        try:
            yield
        finally:
            with suppress(pymysql.Error):  # a connection that is gone has let go of it
                tx.cursor.execute(f"SELECT RELEASE_LOCK({lock})", ())
                tx.cursor.fetchall()

    def _take_lock(self, tx: Transaction, lock: str) -> None:
        """Ask second by second: a longer wait could be longer than the driver's for an answer."""
        deadline = time.monotonic() + _SCHEMA_LOCK_SECONDS
        while True:
            tx.cursor.execute(f"SELECT GET_LOCK({lock}, 1)", ())
            if tx.cursor.fetchall()[0][0] == 1:
                return
            if time.monotonic() > deadline:
                raise ConflictError(f"{self.place}: the lock was waited for in vain for {_SCHEMA_LOCK_SECONDS} s")

    def new_store_id(self) -> ColumnElement[str]:
        """Return UUID()."""
        return func.uuid()

    def table_suffix(self, table: Table, *, is_hot: bool) -> str:
        """Name engine, row format and collation, whatever the defaults of server and database are."""
        collation = self.server.collation
        return f" ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE={collation}"

    def inspect_server(self, tx: Transaction) -> ServerReport:
        """See `wg_mysql.health`."""
        return inspect_server(tx, self.server, self._options)

    def sort_error(self, error: Exception, *, committing: bool) -> BackendError | None:
        """See `wg_mysql.errors`."""
        return sort_error(error, self._options, committing=committing)


def _known(tx: Transaction) -> ClauseElement:
    """Return which ids of a JSON array exist in any job table.

    `Statements.known_ids` says the same with five lists of ids, which take three times as long to parse and to plan.
    """
    statements = tx.statements
    exists = [
        f"EXISTS (SELECT 1 FROM {table.name} FORCE INDEX ({statements.id_index(table)}) "  # noqa: S608 - our own names
        f"WHERE {table.name}.id = new.id LIMIT 1)"
        for table in statements.tables.by_state.values()
    ]
    return text(
        f"SELECT new.id FROM JSON_TABLE(:ids, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) AS new "  # noqa: S608
        f"WHERE {' OR '.join(exists)}"
    )


def _insert_new(tx: Transaction, table: Table) -> ClauseElement:
    columns = tx.statements.new_columns(table)
    return tx.flavor.insert_ignore(table).values({name: bindparam(name) for name in columns})


def _inserted(tx: Transaction, ignoring: str, row: tuple[Any, ...]) -> bool:
    tx.cursor.execute(ignoring, row)
    return tx.cursor.rowcount == 1
