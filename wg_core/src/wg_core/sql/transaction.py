"""One transaction: a DBAPI cursor with our statements and one moment in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wg_core.errors import BackendUnavailableError
from wg_core.job import Timestamp
from wg_core.sql.prepared import Prepared

if TYPE_CHECKING:
    from wg_core.sql.flavor import Flavor, Row
    from wg_core.sql.statements import Statements


class ConflictError(BackendUnavailableError):
    """Another transaction came in between (a deadlock, a lock waited for in vain): nothing happened, run it again.

    `SqlBackend` does so by itself, and lets the error out only when it goes on.
    """


class Cursor(Protocol):
    """What we use of a DBAPI cursor."""

    @property
    def rowcount(self) -> int:
        """Rows changed by the last statement."""

    def execute(self, text: str, arguments: Sequence[Any], /) -> object:
        """Run one statement."""

    def executemany(self, text: str, arguments: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each row of arguments."""

    def fetchall(self) -> Sequence[Any]:
        """Return all rows of the last statement as tuples."""


class Transaction:
    """Runs prepared statements on a cursor. Not thread-safe, like its connection."""

    __slots__ = ("cursor", "flavor", "now", "statements")

    def __init__(self, cursor: Cursor, statements: Statements, flavor: Flavor, now: Timestamp | None) -> None:
        self.cursor = cursor
        self.statements = statements
        self.flavor = flavor
        self.now = flavor.now() if now is None else now

    def rows(self, statement: Prepared, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a statement."""
        self.cursor.execute(statement.text, statement.arguments(parameters))
        return list(self.cursor.fetchall())

    def row(self, statement: Prepared, **parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row of a statement, or None."""
        rows = self.rows(statement, **parameters)
        return rows[0] if rows else None

    def column(self, statement: Prepared, **parameters: Any) -> list[Any]:
        """Return the first column of all rows."""
        return [row[0] for row in self.rows(statement, **parameters)]

    def take(self, statement: Prepared, columns: Sequence[str], **parameters: Any) -> list[Row]:
        """Run a DELETE … RETURNING of these columns and return the rows by name, in no particular order."""
        return [dict(zip(columns, row, strict=True)) for row in self.rows(statement, **parameters)]

    def run(self, statement: Prepared, **parameters: Any) -> int:
        """Run a statement and return how many rows it changed."""
        self.cursor.execute(statement.text, statement.arguments(parameters))
        return self.cursor.rowcount

    def run_many(self, statement: Prepared, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement for each row."""
        self.cursor.executemany(statement.text, [statement.arguments(row) for row in rows])

    def ids(self, values: Iterable[str]) -> Any:
        """Return the value of a list parameter."""
        return self.flavor.list_value(list(values))
