"""Connections to a server: how one is opened, and how its transactions begin."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pymysql.constants import CLIENT

from wg_core.errors import BackendRejectedError
from wg_core.sql import Cursor, PooledConnections, ServerClock
from wg_mysql.driver import Connection, StrictCursor
from wg_mysql.errors import breaks_connection
from wg_mysql.flavor import MySQLFlavor
from wg_mysql.options import MySQLOptions
from wg_mysql.server import Server

_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"


class MySQLConnections(PooledConnections):
    """A pool of PyMySQL connections in READ COMMITTED, where locks are held on the rows we mean and no gaps."""

    begin_reading: ClassVar[str] = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    begin_writing: ClassVar[str] = "START TRANSACTION"
    # Not UNIX_TIMESTAMP(NOW()): the hour that daylight saving repeats would be two hours at once.
    ask_clock: ClassVar[str] = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000"

    def __init__(self, options: MySQLOptions, flavor: MySQLFlavor, clock: ServerClock) -> None:
        self._mysql_options = options
        self._mysql_flavor = flavor
        super().__init__(flavor, clock, options.pool, options.query_log)

    def open_connection(self) -> Connection:
        """Connect and set the session up, in three round trips after the login."""
        where = self._mysql_options.for_driver()
        where["user"] = where["user"] or getpass.getuser()
        session = {"charset": "utf8mb4", "autocommit": True, "client_flag": CLIENT.FOUND_ROWS}
        try:
            connection = Connection(**where, **session, cursorclass=StrictCursor, defer_connect=True)
        except OSError as error:  # ssl.SSLError is one
            raise BackendRejectedError(self._unusable_files(error)) from error
        try:
            connection.connect()
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _unusable_files(self, error: OSError) -> str:
        names = [name for name in ("ssl_ca", "ssl_cert", "ssl_key") if getattr(self._mysql_options, name)]
        files = ", ".join(f"{name}={getattr(self._mysql_options, name)}" for name in names)
        return (
            f"{self._mysql_options.place}: the files for TLS cannot be used ({error}): check that they are there, "
            f"belong together, and that ssl_key_password is that of the key; got {files}"
        )

    def _set_up(self, connection: Connection) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT VERSION(), @@max_allowed_packet")
        version, connection.packet_limit = cursor.fetchall()[0]
        server = Server.of(version)
        self._mysql_flavor.server = server
        settings = {
            "sql_mode": f"'{_SQL_MODE}'",
            "innodb_lock_wait_timeout": self._mysql_options.lock_timeout,
            "lock_wait_timeout": self._mysql_options.lock_timeout,
        }
        if server.is_mariadb:
            settings["in_predicate_conversion_threshold"] = 0  # lists of ids stay lists
        assignments = ", ".join(f"SESSION {name} = {value}" for name, value in settings.items())
        cursor.execute(f"SET NAMES utf8mb4 COLLATE {server.collation}, {assignments}")
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def begin(self, cursor: Cursor, *, writes: bool) -> None:
        """Begin a transaction; a snapshot for reading is what REPEATABLE READ is for."""
        if not writes:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", ())  # the next transaction only
        super().begin(cursor, writes=writes)

    def is_broken(self, connection: Connection, error: BaseException) -> bool:
        """PyMySQL closes its socket when it loses step with the server."""
        return not connection.open or breaks_connection(error)

    def file_number(self, connection: Any) -> int:
        """The driver has no public way to its socket."""
        return int(connection._sock.fileno())  # noqa: SLF001

    def make_cursor(self, connection: Connection) -> Cursor:
        """Return a cursor that spreads lists and knows the server's packet size."""
        return StrictCursor(connection)

    @contextmanager
    def glancing(self) -> Iterator[Cursor]:
        """Lend a cursor for one cheap query without a transaction: a single round trip."""
        with self.lent() as connection, self._sorting(committing=False):
            yield self.cursor(connection)
