"""What differs between SQL stores: the short list that a backend's own package supplies.

A backend for another SQL store writes a `Flavor`, a `Connections` and a `Waiter`, and passes them to
`SqlBackend`; everything else is shared.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import ClauseElement, ColumnElement, Select, String, Table, Update, delete
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeEngine

from wg_core.errors import BackendError
from wg_core.job import Timestamp

if TYPE_CHECKING:
    from wg_core.sql.tables import Tables
    from wg_core.sql.transaction import Cursor, Transaction

Row = dict[str, Any]
"""One row of a table by column name."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a claim took from the front of one queue."""

    rows: list[tuple[Any, ...]]
    """The jobs that now run, as `CLAIMED` columns, in any order."""
    removed: int
    """How many left the ready table; those that are not among the rows had expired."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What `health` says of the store."""

    server: str
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] | None = None


class Flavor(ABC):
    """One SQL product. Methods that take a transaction run inside it and must not commit."""

    dialect: Dialect
    """Compiles our statements; its paramstyle must be positional (`qmark` or `format`)."""
    table_options: ClassVar[Mapping[str, Any]] = {}
    """Dialect options for every table, such as a character set."""
    schema: str | None = None
    """The database schema that holds the tables; None: the one that the connection is in."""
    ddl_commits: ClassVar[bool] = False
    """Whether CREATE and ALTER commit what came before, so that a schema may be found half made."""
    partial_indexes: ClassVar[bool] = True
    """Whether CREATE INDEX … WHERE works."""
    deletes_return_rows: bool = True
    """Whether DELETE … RETURNING works; else rows are read and locked first, then deleted by their key."""
    deletes_lock_others: ClassVar[bool] = False
    """Whether DELETE … WHERE id IN (…) may wait for rows that it does not delete, as a scan of a small table does."""
    one_writer: ClassVar[bool] = False
    """Whether a write transaction excludes all others, so that nothing can be written beside one that is open."""
    drivers: ClassVar[tuple[str, ...]] = ()
    """The modules of the drivers whose connections `join` takes; none: no caller's transaction can be joined."""
    looks_before_writing: ClassVar[bool] = False
    """Whether a reserve first asks a reader if there is anything to claim: worth it where writers queue up."""

    def now(self) -> Timestamp:
        """Return the store's time in milliseconds.

        The default is this machine's clock, right for a store on the same machine. For a server, keep the offset to
        its clock and measure it anew now and then: asking it at every call would double the round trips.
        """
        return time.time_ns() // 1_000_000

    def new_seq(self, tables: Tables) -> ColumnElement[int] | None:
        """Return the next sequence number of the ready table as an expression; None: the column numbers itself.

        A new number must be higher than that of every ready and every running job. The expression has no parameters.
        """
        return None

    def unindexed(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the column so that the planner does not choose an index on it (default: trust the planner)."""
        return column

    def along_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """Return the query so that it reads a table along an index (default: trust the planner)."""
        return query

    def updated_along_index(self, statement: Update, index: str) -> Update:
        """Return the update so that it reaches its rows along an index (default: trust the planner)."""
        return statement

    @abstractmethod
    def in_list(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return `column is in the list parameter`, for one parameter that holds a whole list."""

    def in_query(self, column: ColumnElement[Any], query: Select[Any]) -> ColumnElement[bool]:
        """Return `column is in the rows of a query`, in a form that runs the query, and takes its locks, once."""
        return column.in_(query)

    @abstractmethod
    def list_value(self, values: Sequence[Any]) -> Any:
        """Return the value of a list parameter as `in_list` expects it."""

    def delete_keys(self, table: Table, key: ColumnElement[Any], name: str) -> ClauseElement:
        """Return a delete of the rows whose (primary) keys are in a list parameter made by `keys_value`.

        They are locked already. The plan must not touch other rows, which others may have locked, be the table tiny.
        """
        return delete(table).where(self.in_list(key, name))

    def keys_value(self, keys: Sequence[Any]) -> Any:
        """Return the value of the list parameter of `delete_keys`."""
        return self.list_value(keys)

    @abstractmethod
    def insert_ignore(self, table: Table) -> Insert:
        """Return an insert that does nothing when the key exists."""

    @abstractmethod
    def insert_or_add(self, table: Table, added: Sequence[str]) -> Insert:
        """Return an insert (to be given values or a select) that adds to the columns `added` when the key exists."""

    def insert_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert new jobs (`Statements.new_columns`) under ids that were never used before.

        Sequence numbers rise in the order of the rows.
        """
        tx.cursor.executemany(tx.statements.insert_new(table).text, rows)

    @abstractmethod
    def store_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Insert new jobs (`Statements.new_columns`, ids distinct) whose ids no job table knows; return their ids.

        Where another transaction has just inserted one of the ids into this table, wait for its end. What others put
        into another table meanwhile may be overlooked. Sequence numbers rise in the order of the rows.
        """

    @abstractmethod
    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        """Move the first `limit` jobs of `queue` from ready to running, and delete those among them that expired.

        Parameters: queue, limit, worker, request_no, now. Rows that another claim has locked are skipped.
        """

    def wake_in_transaction(self, tx: Transaction, queues: Collection[str]) -> None:  # noqa: B027 - optional
        """Let the store wake who waits for these queues when the transaction commits, where it can (default: no)."""

    # ------------------------------------------------------------------ the caller's transaction

    @property
    def place(self) -> str:
        """Return where the jobs are, for messages; holds no password."""
        return "the database of the jobs"

    def place_of(self, connection: Any) -> str:
        """Return where a connection of the caller's leads to, in the words of `place`.

        Its transaction may have failed, so a store that then refuses every statement must not be asked.
        """
        return "another one"

    def join(self, connection: Any) -> AbstractContextManager[Cursor]:
        """Lend a cursor of our own, which answers tuples, on a connection of one of the `drivers`.

        Raises ConfigError when no transaction is open and none would begin, so that our statements would commit.
        """
        raise NotImplementedError("a flavor with drivers joins their connections")

    def sort_joined_error(self, error: Exception) -> BackendError | None:
        """Return what an error in a transaction of the caller's means, where wg can say it better than the driver.

        Only BackendRejectedError and SchemaError do; everything else reaches the caller as the driver raised it.
        """
        return self.sort_error(error, committing=False)

    def wake_at_commit(self, tx: Transaction, queues: Collection[str]) -> None:
        """Do what `wake_in_transaction` does, in a transaction of the caller's, which may stay open for long.

        So it cannot be left out because nobody waits now.
        """
        self.wake_in_transaction(tx, queues)

    # ------------------------------------------------------------------ the schema and the server

    @abstractmethod
    def existing_tables(self, tx: Transaction, names: Sequence[str]) -> set[str]:
        """Return which of the names are tables (or views) in the store."""

    def schema_exists(self, tx: Transaction) -> bool:
        """Return whether `schema` is there; where it is not, it is created with the tables (default: it is)."""
        return True

    def existing_parts(self, tx: Transaction, names: Sequence[str]) -> set[tuple[str, str]]:
        """Return (table, index) and (table, column) of the tables of these names; needed where `ddl_commits`."""
        return set()

    def lock_schema(self, tx: Transaction) -> AbstractContextManager[None]:
        """Keep other processes from migrating until the block ends, or longer: the transaction.

        Waits for a bounded time; ConflictError when it was in vain. By default the transaction excludes all others.
        """
        return nullcontext()

    @abstractmethod
    def new_store_id(self) -> ColumnElement[str]:
        """Return an expression without parameters that is another text of up to 64 characters at every run."""

    def text(self, length: int) -> TypeEngine[str]:
        """Return the type of a text column; it must compare code point by code point, trailing spaces included."""
        return String(length)

    def table_suffix(self, table: Table, *, is_hot: bool) -> str:
        """Return what follows CREATE TABLE (…), such as storage parameters; hot tables are written all the time."""
        return ""

    @abstractmethod
    def inspect_server(self, tx: Transaction) -> ServerReport:
        """Return what `health` should say; asks the store."""

    @abstractmethod
    def sort_error(self, error: Exception, *, committing: bool) -> BackendError | None:
        """Return what a driver's error means; None when it is no driver's error and goes on as it is.

        ConflictError for what may work when the transaction is run again: a deadlock, a serialization failure.

        `committing`: it came from COMMIT, so unless the driver says otherwise nobody knows whether it happened.
        """
