"""Connections to PostgreSQL: psycopg 3 in autocommit mode, because our statements begin and end transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.rows import tuple_row
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from wg_core.sql import Cursor, Flavor, PooledConnections, Prepared, ServerClock
from wg_postgres.errors import is_end_of_connection
from wg_postgres.options import PostgresOptions

_PREPARE_AFTER = 1
"""Executions before a statement is prepared: on a connection that lives for hours, the second one pays for it."""
_PREPARED_AT_MOST = 500
"""More than there are statements in the toolkit, so that none is prepared twice."""

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(options: PostgresOptions, conninfo: Mapping[str, str]) -> Connection:
    """Return a new connection in autocommit mode; raises psycopg's errors."""
    settings: dict[str, Any] = dict(parameters(options, conninfo))
    connection: Connection = psycopg.Connection.connect(
        **settings,
        autocommit=True,
        row_factory=tuple_row,
        context=_adapters,
        prepare_threshold=_PREPARE_AFTER if options.prepared_statements else None,
    )
    connection.prepared_max = _PREPARED_AT_MOST
    return connection


def connect_to_listen(options: PostgresOptions) -> Connection:
    """Return a new connection for the thread that listens; raises psycopg's errors."""
    return connect(options, options.listen_conninfo)


def parameters(options: PostgresOptions, conninfo: Mapping[str, str]) -> dict[str, str]:
    """Return libpq's parameters with the settings of our sessions, over which the user's own win."""
    settings = ["-c " + f"{name}={value}".replace(" ", "\\ ") for name, value in options.session_settings.items()]
    if not settings:
        return dict(conninfo)
    return {**conninfo, "options": " ".join([*settings, conninfo.get("options", "")]).strip()}


def _make_adapters() -> AdaptersMap:
    """Return how values travel: a whole number is always a bigint, so that a statement has one plan, not four.

    Lists go in binary form: as text psycopg writes a thousand payloads twenty times as slowly.
    """
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(int, Int8BinaryDumper)
    adapters.register_dumper(list, ListBinaryDumper)
    return adapters


class _Context:
    """Hands the adapters to psycopg."""

    adapters = _make_adapters()
    connection = None


_adapters = _Context()


class PostgresConnections(PooledConnections):
    """The connections of one backend instance."""

    begin_reading: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    begin_writing: ClassVar[str] = "BEGIN ISOLATION LEVEL READ COMMITTED"
    ask_clock: ClassVar[str] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"

    def __init__(self, options: PostgresOptions, flavor: Flavor, clock: ServerClock) -> None:
        self._settings = options
        super().__init__(flavor, clock, options.pool, options.query_log)

    def open_connection(self) -> Connection:
        """Connect to the first host of the URL that will do."""
        return connect(self._settings, self._settings.conninfo)

    def is_broken(self, connection: Connection, error: BaseException) -> bool:
        """Ask the driver and look at the error."""
        return connection.closed or is_end_of_connection(error)

    def file_number(self, connection: Connection) -> int:
        """Return the descriptor of the socket."""
        return connection.fileno()

    def make_cursor(self, connection: Connection) -> Cursor:
        """Return a cursor that answers tuples, bytes as they are and not as hexadecimal text."""
        cursor: Cursor = connection.cursor(binary=True)
        return cursor

    def ask_alone(self, statement: Prepared, parameters: Mapping[str, Any]) -> list[Any]:
        """Run one statement in autocommit mode and return its rows; an error in it may have come after its commit."""
        with self.lent() as connection:
            is_sent = False
            try:  # and no context manager: this is where a producer spends its time
                cursor = self.cursor(connection)
                self._read_clock_when_due(cursor)
                is_sent = True
                cursor.execute(statement.text, statement.arguments(parameters))
                return list(cursor.fetchall())
            except Exception as error:
                if sorted_error := self._flavor.sort_error(error, committing=is_sent):
                    raise sorted_error from error
                raise
