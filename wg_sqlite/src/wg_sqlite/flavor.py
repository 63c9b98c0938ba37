"""What is particular about SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import msgspec
from sqlalchemy import ColumnElement, Table, UnaryExpression, bindparam, func, literal_column, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.dml import Insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.operators import custom_op

from wg_core.errors import BackendError
from wg_core.sql import Cursor, Flavor, ServerReport, Tables, Transaction, Window
from wg_sqlite.errors import sort_error
from wg_sqlite.joining import join, place_of
from wg_sqlite.options import SQLiteOptions

SAFE_VERSION = (3, 51, 3)
"""Earlier versions can damage a file in WAL mode when two connections write and checkpoint in the same moment."""


class SQLiteFlavor(Flavor):
    """SQLite 3.35 or newer."""

    looks_before_writing: ClassVar[bool] = True
    one_writer: ClassVar[bool] = True
    drivers: ClassVar[tuple[str, ...]] = ("sqlite3",)

    def __init__(self, options: SQLiteOptions) -> None:
        self.dialect = SQLiteDialect_pysqlite(paramstyle="qmark")
        self._options = options

    def new_seq(self, tables: Tables) -> ColumnElement[int]:
        """Return one more than the highest number of ready and running jobs.

        AUTOINCREMENT would write to another table, a quarter of the cost of a single enqueue. A plain rowid starts
        again once the table is empty, while a running job with a higher number may still come back.
        """
        highest = [
            func.coalesce(select(func.max(table.alias().c.seq)).scalar_subquery(), literal_column("0"))
            for table in (tables.jobs, tables.running)
        ]
        return func.max(*highest) + literal_column("1")

    def unindexed(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return `+column`, which SQLite's planner does not look up in an index."""
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type)

    def in_list(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return `column in (the values of a JSON array)`."""
        return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))

    def list_value(self, values: Sequence[str]) -> str:
        """Return a JSON array."""
        return msgspec.json.encode(values).decode()

    def insert_ignore(self, table: Table) -> Insert:
        """Return INSERT … ON CONFLICT DO NOTHING."""
        return insert(table).on_conflict_do_nothing()

    def insert_or_add(self, table: Table, added: Sequence[str]) -> Insert:
        """Return INSERT … ON CONFLICT DO UPDATE SET n = n + excluded.n."""
        statement = insert(table)
        sums = {name: table.c[name] + statement.excluded[name] for name in added}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)

    def store_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Look which ids are known, then insert the others: no other writer can come between."""
        ids = {row[0] for row in rows}
        new = ids.difference(tx.column(tx.statements.known_ids, ids=tx.ids(ids)))
        statement = tx.statements.insert_new(table)
        tx.cursor.executemany(statement.text, [row for row in rows if row[0] in new])
        return new

    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        """Copy the window to running, then delete it: nobody else can change it meanwhile."""
        rows = tx.rows(tx.statements.claim_window, **parameters)
        return Window(rows, removed=tx.run(tx.statements.drop_window, **parameters))

    @property
    def place(self) -> str:
        """Return which file holds the jobs."""
        return f"the SQLite file {self._options.path}"

    def place_of(self, connection: sqlite3.Connection) -> str:
        """Ask the connection which file it has open."""
        return place_of(connection)

    def join(self, connection: sqlite3.Connection) -> AbstractContextManager[Cursor]:
        """See `wg_sqlite.joining`."""
        return join(connection)

    def existing_tables(self, tx: Transaction, names: Sequence[str]) -> set[str]:
        """Ask sqlite_master."""
        tx.cursor.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')", ())
        return {row[0] for row in tx.cursor.fetchall()}.intersection(names)

    def new_store_id(self) -> ColumnElement[str]:
        """Return 32 random hexadecimal digits."""
        return func.lower(func.hex(func.randomblob(literal_column("16"))))

    def inspect_server(self, tx: Transaction) -> ServerReport:
        """Read the settings that matter back from the connection."""
        journal_mode = str(_pragma(tx, "journal_mode")).upper()
        warnings = []
        if journal_mode == "WAL" and not self._options.in_memory and (warning := version_warning()):
            warnings.append(warning)
        if self._options.synchronous == "OFF":
            warnings.append("synchronous=OFF: a power failure can damage the file; use NORMAL or FULL")
        details = {
            "path": self._options.path,
            "journal_mode": journal_mode,
            "synchronous": self._options.synchronous,
            "bytes": int(_pragma(tx, "page_count")) * int(_pragma(tx, "page_size")),
        }
        return ServerReport(f"SQLite {sqlite3.sqlite_version}", tuple(warnings), details)

    def sort_error(self, error: Exception, *, committing: bool) -> BackendError | None:
        """See `wg_sqlite.errors`."""
        return sort_error(error, self._options.path, committing=committing)


def version_warning(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str | None:
    """Return what to say of a version with the WAL-reset bug."""
    if version >= SAFE_VERSION:
        return None
    return (
        f"SQLite {'.'.join(map(str, version))} has a rare bug that can damage a file in WAL mode when two connections "
        f"write at once; use SQLite {'.'.join(map(str, SAFE_VERSION))} or newer, or journal_mode=DELETE"
    )


def _pragma(tx: Transaction, name: str) -> Any:
    tx.cursor.execute(f"PRAGMA {name}", ())
    return tx.cursor.fetchall()[0][0]
