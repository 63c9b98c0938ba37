"""What the groups of statements share: rendering once, and conditions that differ by store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Select, Table, delete, literal_column, select

from wg_core.sql.flavor import Flavor
from wg_core.sql.prepared import Prepared, prepare
from wg_core.sql.tables import Tables

ONE: ColumnElement[Any] = literal_column("1")
ZERO: ColumnElement[Any] = literal_column("0")


@dataclass(frozen=True, slots=True)
class Take:
    """How rows leave a table and are answered: at once, or read and locked first, then deleted by their key."""

    read: Prepared
    delete: Prepared | None
    """Deletes by the list parameter `keys`; None: reading has deleted them."""
    columns: tuple[str, ...]
    """What is answered; the key of the table is among them."""
    key_place: int


class StatementSet:
    """Statements of one namespace in one dialect, each composed and rendered at first use."""

    def __init__(self, tables: Tables, flavor: Flavor) -> None:
        self.tables = tables
        self.flavor = flavor
        self._by_table: dict[tuple[str, str], Prepared] = {}
        self._takes: dict[tuple[str, str], Take] = {}

    def ids(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that the job's id is in the list parameter `ids`."""
        return self.flavor.in_list(table.c.id, "ids")

    def take_where(
        self,
        table: Table,
        index: str,
        *conditions: ColumnElement[bool],
        columns: Sequence[str] | None = None,
        locks: bool = True,
    ) -> Take:
        """Take rows whose ids or keys are listed, along an index; answers all columns, or those named.

        `locks=False` is for rows that are locked already.
        """
        answer = [table.c[name] for name in columns or self.tables.columns(table)]
        # Only in running no caller's own transaction holds rows, maybe for long.
        one_by_one = self.flavor.deletes_lock_others and table is not self.tables.running
        if one_by_one or not self.flavor.deletes_return_rows:
            found = select(*answer).where(*conditions)
            if locks:
                found = found.with_for_update()
            return self.take_found(table, self.flavor.along_index(found, table, index))
        places = {column.name: place for place, column in enumerate(answer)}
        taken = delete(table).where(*conditions).returning(*answer)
        return Take(self.prepare(taken), None, tuple(places), places[_key(table).name])

    def take_found(self, table: Table, query: Select[Any]) -> Take:
        """Take the rows that a query answers and locks: it reads the table, under another name if it likes.

        Two statements everywhere: a delete that chooses its rows by a query on its own table is what planners are bad
        at, and some stores refuse.
        """
        key = _key(table)
        places = {column.name: place for place, column in enumerate(query.selected_columns)}
        gone = self.flavor.delete_keys(table, key, "keys")
        return Take(self.prepare(query), self.prepare(gone), tuple(places), places[key.name])

    def id_index(self, table: Table) -> str:
        """Return the name of the index of job ids, as stores choose it that care for it."""
        return "id" if "seq" in table.columns else "PRIMARY"

    def take_of_table(self, kind: str, table: Table, compose: Callable[[], Take]) -> Take:
        """Return the way to take rows of this kind from a table; composed at the first call."""
        take = self._takes.get((kind, table.name))
        if take is None:
            take = self._takes[kind, table.name] = compose()
        return take

    def of_table(self, kind: str, table: Table, compose: Callable[[], ClauseElement]) -> Prepared:
        """Return the statement of this kind for a table; composed at the first call."""
        prepared = self._by_table.get((kind, table.name))
        if prepared is None:
            prepared = self._by_table[kind, table.name] = self.prepare(compose())
        return prepared

    def prepare(self, statement: ClauseElement) -> Prepared:
        """Render a statement in our dialect."""
        return prepare(statement, self.flavor.dialect)


def _key(table: Table) -> ColumnElement[Any]:
    (column,) = table.primary_key
    return column
