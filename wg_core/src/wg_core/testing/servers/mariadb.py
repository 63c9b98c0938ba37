"""A private MariaDB (or MySQL)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wg_core.testing.servers._programs import ServerError, find_binary
from wg_core.testing.servers.base import HOST, PrivateServer, ServerCertificate

USER = "root"
DATABASE = "wg"
_LOGIN = f"'{USER}'@'{HOST}'"
_AT_EACH_START = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;",
    f"CREATE USER IF NOT EXISTS {_LOGIN};",
    f"GRANT ALL ON *.* TO {_LOGIN} WITH GRANT OPTION;",
)


class MariaDBServer(PrivateServer):
    """A private MariaDB with the user `root`, who needs no password, and an empty utf8mb4 database `wg`.

    It writes and syncs every commit before it is answered, so that `kill` loses nothing. `conf` are further lines
    for the section [mysqld] of its options. With a `certificate` it offers TLS. It listens on `unix_socket`, too.
    Where there is no `mariadbd` a `mysqld` of MySQL 8 will do.
    """

    product = "mariadb"
    accounts = ("mysql", "nobody")

    def __init__(
        self,
        *,
        conf: Sequence[str] = (),
        certificate: ServerCertificate | None = None,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        super().__init__(start_timeout_seconds=start_timeout_seconds)
        self.data_folder = self.folder / "data"
        self.unix_socket = self.folder / "mysql.sock"
        self._pid_path = self.folder / "server.pid"
        self._conf = tuple(conf)
        self._certificate = certificate

    @property
    def url(self) -> str:
        """The URL of the database `wg`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the URL of a database, which need not exist."""
        return f"mysql://{USER}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty utf8mb4 database and return its URL."""
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self.url_of(name)

    def execute(self, sql: str, *, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Execute statements on a connection of their own, each in its own transaction unless they say otherwise.

        Returns the rows of the last one that has any. Needs PyMySQL; its errors are not translated.
        """
        import pymysql  # noqa: PLC0415 - wg_core does not depend on it, and Redis users do not have it
        from pymysql.constants import CLIENT  # noqa: PLC0415

        rows: list[tuple[Any, ...]] = []
        with (
            pymysql.connect(
                host=HOST,
                port=self.port,
                user=USER,
                database=database,
                charset="utf8mb4",
                autocommit=True,
                ssl_disabled=True,  # or the driver reads the certificates of all authorities, for each connection
                client_flag=CLIENT.MULTI_STATEMENTS,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            while True:
                if cursor.description:
                    rows = list(cursor.fetchall())
                if not cursor.nextset():
                    return rows

    def _command(self) -> Sequence[str]:
        binary = find_binary(("mariadbd", "mysqld"), wheel=None, install="mariadb-server")
        options = f"--defaults-file={self._write('my.cnf', self._conf_lines())}"  # must be the first word
        if not self.data_folder.exists():
            self._make_data(binary, options)
        return [str(binary), options, f"--init-file={self._write('init.sql', _AT_EACH_START)}"]

    def _make_data(self, binary: Path, options: str) -> None:
        if _is_mysql(binary):
            self._run(binary, options, "--initialize-insecure")
            return
        names = ("mariadb-install-db", "mysql_install_db")
        maker = find_binary(names, wheel=None, install="mariadb-server", folders=[str(binary.resolve().parent)])
        self._run(maker, options, "--auth-root-authentication-method=normal", "--skip-test-db")

    def _conf_lines(self) -> list[str]:
        return [
            "[mysqld]",
            f"bind-address = {HOST}",
            f"port = {self.port}",
            f"socket = {self.unix_socket}",
            f"datadir = {self.data_folder}",
            f"pid-file = {self._pid_path}",
            f"tmpdir = {self.folder}",  # in a common one a server that starts deletes the temporary tables of others
            "skip-name-resolve",
            "character-set-server = utf8mb4",
            "innodb-buffer-pool-size = 64M",
            "innodb-log-file-size = 32M",
            "max-connections = 200",
            *self._tls_lines(),
            *self._conf,
        ]

    def _tls_lines(self) -> list[str]:
        if self._certificate is None:
            return []
        chain, key = self._write("tls.crt", [self._certificate.chain]), self._write("tls.key", [self._certificate.key])
        return [f"ssl-cert = {chain}", f"ssl-key = {key}"]

    def _is_ready(self) -> bool:
        """Whether the server has noted its id, which it does last, and greets on its own socket."""
        try:
            if self._pid_path.read_text().strip() != str(self.pid):
                return False
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2.0)
                connection.connect(str(self.unix_socket))
                return len(connection.recv(1)) == 1
        except (OSError, ServerError):
            return False


def _is_mysql(binary: Path) -> bool:
    version = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout
    return "MariaDB" not in version
