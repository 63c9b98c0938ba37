"""What differs between SQL stores: the short list that a backend's own package supplies.

A backend for another SQL store writes a `Flavor`, a `Connections` and a `Waiter`, and passes them to
`SqlBackend`; everything else is shared.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import ColumnElement, Select, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert

from wg_core.errors import BackendError
from wg_core.job import Timestamp

if TYPE_CHECKING:
    from wg_core.sql.tables import Tables
    from wg_core.sql.transaction import Transaction

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

    @abstractmethod
    def in_list(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Return `column is in the list parameter`, for one parameter that holds a whole list."""

    def in_query(self, column: ColumnElement[Any], query: Select[Any]) -> ColumnElement[bool]:
        """Return `column is in the rows of a query`, in a form that runs the query, and takes its locks, once."""
        return column.in_(query)

    @abstractmethod
    def list_value(self, values: Sequence[Any]) -> Any:
        """Return the value of a list parameter as `in_list` expects it."""

    @abstractmethod
    def insert_ignore(self, table: Table) -> Insert:
        """Return an insert that does nothing when the key exists."""

    @abstractmethod
    def insert_or_add(self, table: Table, added: Sequence[str]) -> Insert:
        """Return an insert (to be given values or a select) that adds to the columns `added` when the key exists."""

    @abstractmethod
    def store_new(self, tx: Transaction, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
        """Insert new jobs (`Statements.new_columns`, ids distinct) whose ids no job table knows; return their ids."""

    @abstractmethod
    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        """Move the first `limit` jobs of `queue` from ready to running, and delete those among them that expired.

        Parameters: queue, limit, worker, request_no, now. Rows that another claim has locked are skipped.
        """

    @abstractmethod
    def existing_tables(self, tx: Transaction, names: Sequence[str]) -> set[str]:
        """Return which of the names are tables (or views) in the store."""

    def lock_schema(self, tx: Transaction) -> None:  # noqa: B027 - optional: some write transactions exclude all others
        """Keep other processes from migrating until this transaction ends; by default it does so by itself."""

    @abstractmethod
    def inspect_server(self, tx: Transaction) -> ServerReport:
        """Return what `health` should say; asks the store."""

    @abstractmethod
    def sort_error(self, error: Exception, *, committing: bool) -> BackendError | None:
        """Return what a driver's error means; None when it is no driver's error and goes on as it is.

        ConflictError for what may work when the transaction is run again: a deadlock, a serialization failure.

        `committing`: it came from COMMIT, so unless the driver says otherwise nobody knows whether it happened.
        """
