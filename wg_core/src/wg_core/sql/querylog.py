"""Query logging: every statement with its parameters, rows and time to the logger `wg.sql`, and slow ones as warnings.

What jobs carry stays secret: bodies, histories, what workers say of themselves and remembered answers travel as bytes,
and of bytes only the number is shown. Ids, names, queues and times are shown, long ones shortened. Passwords are in no
statement.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from wg_core.sql.options import Option, boolean, seconds
from wg_core.sql.transaction import Cursor

_log = logging.getLogger("wg.sql")

QUERY_LOG_OPTIONS = {"log_queries": Option(boolean), "slow_query": Option(seconds())}

_Answer = TypeVar("_Answer")

_LONGEST_TEXT = 100
_MOST_ITEMS = 10


class QueryLog:
    """Says what runs on the cursors that it watches. Thread-safe.

    With `log_queries` every statement at level DEBUG; one that took `slow_query` seconds or longer at level WARNING.
    """

    def __init__(self, *, log_queries: bool = False, slow_query: float = math.inf) -> None:
        self._logs_all = log_queries
        self._slow_seconds = slow_query

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Self | None:
        """Take `QUERY_LOG_OPTIONS` out of parsed options; None, which costs nothing, when nothing is asked for."""
        given = {name: options.pop(name) for name in QUERY_LOG_OPTIONS if name in options}
        return cls(**given) if given.get("log_queries") or "slow_query" in given else None

    def watched(self, cursor: Any) -> Cursor:
        """Return a cursor that does the same on this DBAPI cursor, and tells."""
        return _WatchedCursor(cursor, self)

    def note(self, query: _Query, rows: int, error: BaseException | None = None) -> None:
        """Log one statement; `rows`: how many it changed or answered, negative when nobody knows."""
        is_slow = query.duration_seconds >= self._slow_seconds
        level = logging.WARNING if is_slow else logging.DEBUG
        if (is_slow or self._logs_all) and _log.isEnabledFor(level):
            kind = "slow query, " if is_slow else ""
            took = f"{query.duration_seconds * 1000:.2f} ms"
            _log.log(level, "%s%s%s: %s%s", kind, took, _end(rows, error), _on_one_line(query.text), query.shown())


@dataclass(slots=True)
class _Query:
    """One statement that ran."""

    text: str
    arguments: Sequence[Any]
    is_many: bool
    """Whether `arguments` are rows of arguments, for each of which it ran."""
    duration_seconds: float = 0.0

    def shown(self) -> str:
        """Return the arguments as they may be logged, nothing where there are none."""
        if not self.arguments:
            return ""
        if not self.is_many:
            return f" {_shown_items(self.arguments)}"
        return f" {_shown_items(self.arguments[0])} and so on, {len(self.arguments)} times"


class _WatchedCursor:
    """Tells what ran: at once, or where rows are to come, when they were fetched, because that belongs to its time."""

    __slots__ = ("_cursor", "_log", "_unfetched")

    def __init__(self, cursor: Any, log: QueryLog) -> None:
        self._cursor = cursor
        self._log = log
        self._unfetched: _Query | None = None

    @property
    def rowcount(self) -> int:
        """Rows changed by the last statement."""
        return int(self._cursor.rowcount)

    def execute(self, text: str, arguments: Sequence[Any], /) -> object:
        """Run one statement."""
        return self._run(self._cursor.execute, _Query(text, arguments, is_many=False))

    def executemany(self, text: str, arguments: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each row of arguments."""
        return self._run(self._cursor.executemany, _Query(text, arguments, is_many=True))

    def fetchall(self) -> Sequence[Any]:
        """Return all rows of the last statement as tuples."""
        query, self._unfetched = self._unfetched, None
        rows: Sequence[Any]
        if query is None:
            rows = self._cursor.fetchall()
        else:
            rows = self._timed(query, self._cursor.fetchall)
            self._log.note(query, len(rows))
        return rows

    def _run(self, run: Callable[[str, Sequence[Any]], object], query: _Query) -> object:
        self._tell_unfetched()
        answer = self._timed(query, lambda: run(query.text, query.arguments))
        if self._cursor.description is None:
            self._log.note(query, self.rowcount)
        else:
            self._unfetched = query
        return answer

    def _tell_unfetched(self) -> None:
        query, self._unfetched = self._unfetched, None
        if query is not None:
            self._log.note(query, self.rowcount)

    def _timed(self, query: _Query, call: Callable[[], _Answer]) -> _Answer:
        began = time.perf_counter()
        try:
            answer = call()
        except BaseException as error:
            query.duration_seconds += time.perf_counter() - began
            self._log.note(query, -1, error)
            raise
        query.duration_seconds += time.perf_counter() - began
        return answer


def _end(rows: int, error: BaseException | None) -> str:
    if error is not None:
        return f", {type(error).__name__}"  # no more of it, because it may quote values
    return "" if rows < 0 else f", {rows} row{'' if rows == 1 else 's'}"


def _shown_items(values: Sequence[Any]) -> str:
    shown = [_shown(value) for value in values[:_MOST_ITEMS]]
    if len(values) > _MOST_ITEMS:
        shown.append(f"… {len(values)} in all")
    return f"({', '.join(shown)})"


def _shown(value: Any) -> str:
    """Return a value as it may be logged: secrets are bytes, and what we do not know may hold some."""
    match value:
        case None | int() | float():
            return str(value)
        case str():
            return repr(value) if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]!r}…"
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case list() | tuple():
            return _shown_items(value)
    return f"<a {type(value).__name__}>"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
