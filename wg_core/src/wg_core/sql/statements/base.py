"""What the groups of statements share: rendering once, and conditions that differ by store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Table, delete, literal_column

from wg_core.sql.flavor import Flavor
from wg_core.sql.prepared import Prepared, prepare
from wg_core.sql.tables import Tables

ONE: ColumnElement[Any] = literal_column("1")
ZERO: ColumnElement[Any] = literal_column("0")


class StatementSet:
    """Statements of one namespace in one dialect, each composed and rendered at first use."""

    def __init__(self, tables: Tables, flavor: Flavor) -> None:
        self.tables = tables
        self.flavor = flavor
        self._by_table: dict[tuple[str, str], Prepared] = {}

    def ids(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that the job's id is in the list parameter `ids`."""
        return self.flavor.in_list(table.c.id, "ids")

    def take_all(self, table: Table, *conditions: ColumnElement[bool]) -> ClauseElement:
        """Return a delete that answers all columns of the rows."""
        return delete(table).where(*conditions).returning(*table.columns)

    def of_table(self, kind: str, table: Table, compose: Callable[[], ClauseElement]) -> Prepared:
        """Return the statement of this kind for a table; composed at the first call."""
        prepared = self._by_table.get((kind, table.name))
        if prepared is None:
            prepared = self._by_table[kind, table.name] = self.prepare(compose())
        return prepared

    def prepare(self, statement: ClauseElement) -> Prepared:
        """Render a statement in our dialect."""
        return prepare(statement, self.flavor.dialect)
