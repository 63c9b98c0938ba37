"""One transaction: a DBAPI cursor with our statements and one moment in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wg_core.errors import BackendUnavailableError
from wg_core.job import Timestamp
from wg_core.sql.prepared import Prepared

if TYPE_CHECKING:
    from wg_core.sql.flavor import Flavor, Row
    from wg_core.sql.statements import Statements, Take


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

    __slots__ = ("cursor", "flavor", "now", "statements", "woken")

    def __init__(self, cursor: Cursor, statements: Statements, flavor: Flavor, now: Timestamp | None) -> None:
        self.cursor = cursor
        self.statements = statements
        self.flavor = flavor
        self.now = flavor.now() if now is None else now
        self.woken: set[str] = set()
        """Queues in which jobs become ready: who waits for them is woken when this commits."""

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

    def take(self, take: Take, **parameters: Any) -> list[Row]:
        """Take rows from a table and return them by column name, in no particular order."""
        return [dict(zip(take.columns, row, strict=True)) for row in self.taken(take, **parameters)]

    def taken(self, take: Take, **parameters: Any) -> list[tuple[Any, ...]]:
        """Take rows from a table and return them as `take.columns`, in no particular order."""
        rows = self.rows(take.read, **parameters)
        if rows and take.delete is not None:
            self.run(take.delete, keys=self.flavor.keys_value([row[take.key_place] for row in rows]))
        return rows

    def run(self, statement: Prepared, **parameters: Any) -> int:
        """Run a statement and return how many rows it changed."""
        self.cursor.execute(statement.text, statement.arguments(parameters))
        return self.cursor.rowcount

    def run_many(self, statement: Prepared, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement for each row."""
        self.cursor.executemany(statement.text, [statement.arguments(row) for row in rows])

    def ids(self, values: Iterable[str | int]) -> Any:
        """Return the value of a list parameter."""
        return self.flavor.list_value(list(values))
