"""A private PgBouncer in front of a private PostgreSQL."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from wg_core.testing.servers._programs import ServerError, find_binary
from wg_core.testing.servers.base import HOST, PrivateServer
from wg_core.testing.servers.postgres import DATABASE, USER, PostgresServer


class PgBouncerServer(PrivateServer):
    """A PgBouncer in transaction mode: each transaction may run on another of a few connections to `postgres`.

    That server must be started by itself and outlive this one. `conf` are further lines for the section
    [pgbouncer] of its options.
    """

    product = "pgbouncer"
    accounts = ("postgres", "nobody")

    def __init__(
        self, postgres: PostgresServer, *, conf: Sequence[str] = (), start_timeout_seconds: float = 60.0
    ) -> None:
        super().__init__(start_timeout_seconds=start_timeout_seconds)
        self.postgres = postgres
        self._pid_path = self.folder / "pgbouncer.pid"
        self._conf = tuple(conf)

    @property
    def url(self) -> str:
        """The URL of the database `wg` through the pool."""
        return f"postgres://{USER}@{HOST}:{self.port}/{DATABASE}"

    def show(self, what: str) -> list[dict[str, Any]]:
        """Return what the console answers to SHOW POOLS, SHOW CLIENTS, SHOW STATS and so on. Needs psycopg."""
        import psycopg  # noqa: PLC0415 - wg_core does not depend on it
        from psycopg.rows import dict_row  # noqa: PLC0415

        console = f"postgres://{USER}@{HOST}:{self.port}/pgbouncer"
        with psycopg.connect(console, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(f"SHOW {what}".encode()).fetchall()

    def _command(self) -> Sequence[str]:
        binary = find_binary(("pgbouncer",), wheel=None, install="pgbouncer")
        return [str(binary), str(self._write("pgbouncer.ini", self._conf_lines()))]

    def _conf_lines(self) -> list[str]:
        return [
            "[databases]",
            f"* = host={HOST} port={self.postgres.port} user={USER}",
            "[pgbouncer]",
            f"listen_addr = {HOST}",
            f"listen_port = {self.port}",
            f"unix_socket_dir = {self.folder}",
            f"pidfile = {self._pid_path}",
            "auth_type = any",
            f"admin_users = {USER}",
            "pool_mode = transaction",
            "default_pool_size = 20",
            "max_client_conn = 500",
            *self._conf,
        ]

    def _is_ready(self) -> bool:
        try:
            if self._pid_path.read_text().strip() != str(self.pid):
                return False
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.folder / f".s.PGSQL.{self.port}"))
                return True
        except (OSError, ServerError):
            return False
