"""Enqueueing in a transaction of somebody else's connection of PyMySQL or mysqlclient."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import ER, SERVER_STATUS

from wg_core.errors import BackendError, BackendRejectedError, ConfigError, SchemaError
from wg_core.sql import Cursor
from wg_mysql.driver import CUT, spread_lists
from wg_mysql.errors import NO_RIGHT, NO_TABLE

DRIVERS = ("pymysql", "MySQLdb")

_TOO_LARGE = {ER.NET_PACKET_TOO_LARGE}
_SURELY_FITS = 256 * 1024
"""Bytes of a job that need no look at max_allowed_packet."""


class _DriverCursor:
    """A plain cursor of the caller's driver, for our statements; see `wg_mysql.driver` for what is changed."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.rowcount = 0

    def execute(self, text: str, arguments: Sequence[Any], /) -> None:
        if arguments:
            text, arguments = spread_lists(text, arguments)
        self._cursor.execute(text, arguments or None)
        self.rowcount = int(self._cursor.rowcount)
        self._check_ignored(text)

    def executemany(self, text: str, arguments: Sequence[Sequence[Any]], /) -> None:
        self._check_sizes(text, arguments)
        changed = 0
        for rows in _portions(arguments, self._cursor.max_stmt_length):
            self._cursor.executemany(text, rows)
            changed += int(self._cursor.rowcount)
            self._check_ignored(text)
        self.rowcount = changed

    def fetchall(self) -> Sequence[Any]:
        return [
            tuple(value.decode() if isinstance(value, bytes | bytearray) else value for value in row)
            for row in self._cursor.fetchall()
        ]

    def _check_sizes(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Refuse a job that is longer than a packet, which the server would answer by hanging up on the caller."""
        large = [row for row in rows if sum(len(value) for value in row if isinstance(value, bytes)) > _SURELY_FITS]
        if not large:
            return
        self._cursor.execute("SELECT @@max_allowed_packet")
        ((limit,),) = self._cursor.fetchall()
        size = max(len(self._cursor.mogrify(text, row)) for row in large)
        if size >= limit:
            raise BackendRejectedError(
                f"a job of {size:,} bytes (as it stands in a statement) is longer than the server's max_allowed_packet "
                f"of {limit:,}: make the job smaller, or raise max_allowed_packet on the server"
            )

    def _check_ignored(self, text: str) -> None:
        """Refuse what INSERT IGNORE would cut, or what a session without strict mode would."""
        if text.startswith("INSERT") and (warnings := self._cursor.connection.show_warnings()):
            for _, code, message in warnings:
                if code in CUT:
                    raise BackendRejectedError(f"MySQL cannot store this value: {message} ({code})")


def _portions(rows: Sequence[Sequence[Any]], longest: int) -> Iterator[Sequence[Sequence[Any]]]:
    """Split rows so that the driver sends each portion as one statement: what it cut is asked of the last one only."""
    start = size = 0
    for place, row in enumerate(rows):
        length = sum(4 * len(value) + 16 if isinstance(value, str | bytes) else 24 for value in row)
        if place > start and size + length > longest // 2:
            yield rows[start:place]
            start, size = place, 0
        size += length
    yield rows[start:]


@contextmanager
def join(connection: Any) -> Iterator[Cursor]:
    """Lend a cursor that answers tuples, whatever cursor class the connection has."""
    if isinstance(connection, pymysql.Connection):
        _check_fetched(connection)
        plain = pymysql.cursors.Cursor(connection)
        in_transaction = bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)
    else:
        plain = importlib.import_module("MySQLdb.cursors").Cursor(connection)  # the caller has imported it
        in_transaction = not connection.get_autocommit() or _says_in_transaction(plain)
    if connection.get_autocommit() and not in_transaction:
        raise ConfigError(
            "the connection is in autocommit mode and no transaction is open, so the job would be stored at once: call "
            "connection.autocommit(False) or connection.begin() first, or enqueue without a connection"
        )
    try:
        yield _DriverCursor(plain)
    finally:
        plain.close()


def _check_fetched(connection: Any) -> None:
    """Refuse what PyMySQL would answer by throwing away the rest of the caller's rows."""
    result = connection._result  # noqa: SLF001 - the driver has no public way to it
    if result is not None and result.unbuffered_active:
        raise ConfigError(
            "the connection has an unbuffered cursor (SSCursor) with rows that were not read, which would be lost: "
            "fetch or close it first, or pass another connection"
        )


def _says_in_transaction(cursor: Any) -> bool:
    """Ask the server, where it can tell: mysqlclient does not keep what the server said of it. MySQL cannot."""
    try:
        cursor.execute("SELECT @@in_transaction")
    except Exception as error:
        if _code_of(error) == ER.UNKNOWN_SYSTEM_VARIABLE:
            return False
        raise
    return bool(cursor.fetchall()[0][0])


def place_of(connection: Any) -> str:
    """Ask the server: a transaction that failed answers on MySQL, too."""
    if isinstance(connection, pymysql.Connection):
        cursor: Any = pymysql.cursors.Cursor(connection)
    else:
        cursor = importlib.import_module("MySQLdb.cursors").Cursor(connection)
    cursor.execute("SELECT DATABASE(), @@hostname, @@port")
    ((database, host, port),) = cursor.fetchall()
    cursor.close()
    return f"{host}:{port}/{database or ''}"


def sort_error(error: Exception, place: str) -> BackendError | None:
    """Return what wg can say better than the driver: the tables, the rights, the values. None for all else."""
    code = _code_of(error)
    if code in NO_TABLE or code == ER.NO_DB_ERROR:
        return SchemaError(f"the tables in {place} are missing or incomplete: {error}; run: wg migrate")
    if code in NO_RIGHT:
        return BackendRejectedError(f"{place}: no right to do this: {error}")
    if code in CUT | _TOO_LARGE or isinstance(error, OverflowError | UnicodeError):
        return BackendRejectedError(f"MySQL cannot store this value: {error}")
    return None


def _code_of(error: BaseException) -> int | None:
    """Return the number of an error of either driver."""
    root = type(error).__module__.partition(".")[0]
    of_driver = root in {"pymysql", "MySQLdb"} and error.args and isinstance(error.args[0], int)
    return error.args[0] if of_driver else None
