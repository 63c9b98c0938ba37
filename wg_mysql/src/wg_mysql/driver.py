"""PyMySQL with four habits changed: list parameters, INSERT IGNORE, packet sizes and contexts for TLS."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from wg_core.errors import BackendRejectedError

_LONGEST_STATEMENT = 4 * 1024 * 1024
"""Bytes of an INSERT of many rows. Longer ones are no faster."""
CUT = {
    ER.WARN_DATA_TRUNCATED,
    ER.WARN_DATA_OUT_OF_RANGE,
    ER.DATA_TOO_LONG,
    ER.TRUNCATED_WRONG_VALUE,
    ER.TRUNCATED_WRONG_VALUE_FOR_FIELD,
    ER.BAD_NULL_ERROR,
}


class Connection(pymysql.Connection):  # type: ignore[misc] # the driver has no types
    """A connection that knows how long a statement the server takes."""

    packet_limit: int = 1024 * 1024
    """The server's max_allowed_packet."""

    def _create_ssl_ctx(self, files: Mapping[str, Any]) -> ssl.SSLContext:
        """Return the driver's context for TLS; where nothing is to be checked, one for all connections.

        The driver would read the certificates of all authorities for each connection, and then check nobody's. And it
        would leave the host's name unchecked where the authorities are those of the system.
        """
        if not files:
            return _trusting_context()
        context: ssl.SSLContext = super()._create_ssl_ctx(files)
        context.check_hostname = context.check_hostname or bool(files.get("check_hostname"))
        return context

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:  # noqa: FBT001 - the driver's signature
        """Run a statement, unless the server would answer its length by hanging up."""
        data = sql.encode(self.encoding) if isinstance(sql, str) else sql
        if len(data) >= self.packet_limit:
            raise BackendRejectedError(
                f"a statement of {len(data):,} bytes is longer than the server's max_allowed_packet of "
                f"{self.packet_limit:,}: make the job smaller (in a statement its content takes twice its size), or "
                f"raise max_allowed_packet on the server"
            )
        return int(super().query(data, unbuffered))


@functools.cache
def _trusting_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class StrictCursor(Cursor):  # type: ignore[misc]
    """A cursor for our statements."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        # executemany splits an INSERT of many rows below this.
        self.max_stmt_length = min(_LONGEST_STATEMENT, connection.packet_limit - 1)

    def execute(self, query: str | bytes, args: Any = None) -> int:
        """Run a statement. In strict mode INSERT IGNORE would still cut what is too long: here it raises."""
        if args and isinstance(query, str):
            query, args = spread_lists(query, args)
        changed = int(super().execute(query, args or None))
        if self.warning_count and query[:13] in ("INSERT IGNORE", b"INSERT IGNORE"):
            self._check_ignored()
        return changed

    def _check_ignored(self) -> None:
        for _, code, message in self.connection.show_warnings():
            if code in CUT:
                raise pymysql.DataError(code, message)


def spread_lists(text: str, arguments: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return text and arguments in which each list has become as many parameters as it is long; `IN %s` takes a list.

    An empty list becomes a NULL, which is in no list and equals nothing. A DELETE of listed rows gets a LIMIT of as
    many: it changes nothing but the plan. Without it small tables are scanned, and that waits for every lock of others
    (DELETE takes no FORCE INDEX).
    """
    if list not in map(type, arguments):
        return text, arguments
    pieces = text.split("%s")
    spread: list[Any] = []
    places = []
    for argument in arguments:
        values = (argument or [None]) if isinstance(argument, list) else [argument]
        spread += values
        places.append(f"({', '.join(['%s'] * len(values))})" if isinstance(argument, list) else "%s")
    text = "".join([part for pair in zip(pieces, places, strict=False) for part in pair]) + pieces[-1]
    if text.startswith("DELETE"):
        delete, returning, columns = text.partition(" RETURNING ")
        longest = max(len(argument) for argument in arguments if isinstance(argument, list))
        text = f"{delete} LIMIT {longest}{returning}{columns}"
    return text, spread
