"""One empty database of each SQL product, looked at and changed with the product's own tools."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import DDL, Column, String
from sqlalchemy.schema import CreateIndex, CreateTable, Index, MetaData, Table

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.outcome import Ack, Applied
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend
from wg_core.sql import Flavor, Tables, migrating
from wg_core.testing.servers import MariaDBServer, PostgresServer

Rows = list[tuple[Any, ...]]

PATIENCE_SECONDS = 60.0
"""How long a test waits for somebody else before it gives up; never a measure of speed."""


def new_job(job_id: str, **fields: Any) -> NewJob:
    return NewJob(**{"id": job_id, "name": "job", "body": b'{"v":1}', **fields})


def run_one(backend: Backend, job_id: str = "a", worker: str = "w1") -> None:
    """Take one job through its whole life, which reads and writes nearly every table."""
    backend.enqueue([new_job(job_id)])
    backend.beat([WorkerBeat(worker=worker, lease_seconds=600.0, first=True)])
    (reserved,) = backend.reserve(None, 1, worker, request_no=1)
    assert reserved.id == job_id
    ack = Ack(id=reserved.id, lease_no=reserved.lease_no)
    assert backend.report(worker, [ack], request_no=1) == [Applied.APPLIED]
    assert backend.get([job_id]) == []
    backend.retire(worker, [], "the test is over")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        never.wait(0.01)


class Store(ABC):
    """An empty database. Backends opened through it are closed with it."""

    ddl_commits = False
    """Whether every DDL statement commits by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[Backend] = []

    def open(self, namespace: str = "wg", *, url: str | None = None, **options: Any) -> Backend:
        self._opened.append(open_backend(url or self.url, namespace=namespace, **options))
        return self._opened[-1]

    def close_backends(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def close(self) -> None:
        """Leave nothing behind."""
        self.close_backends()

    @abstractmethod
    def execute(self, sql: str) -> Rows:
        """Run statements as somebody who may do everything; return the rows of the last."""

    @abstractmethod
    def run_script(self, script: str) -> None:
        """Let the product's own program run a file of statements."""

    @abstractmethod
    def structure(self) -> list[str]:
        """Return all tables, columns and indexes of the database as text, sorted."""

    def meta(self, namespace: str = "wg") -> dict[str, str]:
        """Return what the table says of the schema; `key` is a reserved word in one of the products."""
        return dict(self.execute(f"SELECT * FROM {namespace}_meta"))

    def _run(self, *command: str | Path, script: str) -> None:
        answer = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr


class SQLiteStore(Store):
    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:{path}")
        self.path = path

    def execute(self, sql: str) -> Rows:
        rows: Rows = []
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for statement in sql.split(";"):
                rows = connection.execute(statement).fetchall()
        return rows

    def run_script(self, script: str) -> None:
        self._run("sqlite3", self.path, script=script)

    def structure(self) -> list[str]:
        return sorted(str(row) for row in self.execute("SELECT type, name, sql FROM sqlite_schema"))


class PostgresStore(Store):
    def __init__(self, server: PostgresServer) -> None:
        self.database = f"t_{uuid.uuid4().hex[:16]}"
        self.server = server
        super().__init__(server.create_database(self.database))

    def close(self) -> None:
        super().close()
        self.server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")

    def url_as(self, user: str) -> str:
        return self.url.replace("postgres@", f"{user}@")

    def execute(self, sql: str) -> Rows:
        return self.server.execute(sql, database=self.database)

    def run_script(self, script: str) -> None:
        self._run("psql", "--quiet", "--no-psqlrc", self.url.replace("postgres:", "postgresql:", 1), script=script)

    def structure(self) -> list[str]:
        columns = self.execute(
            "SELECT table_schema, table_name, column_name, data_type, character_maximum_length, collation_name, "
            "is_nullable, column_default, is_identity FROM information_schema.columns "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        indexes = self.execute("SELECT indexdef FROM pg_indexes WHERE schemaname NOT LIKE 'pg_%'")
        settings = self.execute("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND relname LIKE '%wg_%'")
        return sorted(str(row) for row in [*columns, *indexes, *settings])


class MariaDBStore(Store):
    ddl_commits = True

    def __init__(self, server: MariaDBServer) -> None:
        self.database = f"t_{uuid.uuid4().hex[:16]}"
        self.server = server
        super().__init__(server.create_database(self.database))

    def close(self) -> None:
        super().close()
        self.server.execute(f"DROP DATABASE {self.database}")

    def url_as(self, user: str) -> str:
        return self.url.replace("root@", f"{user}@")

    def execute(self, sql: str) -> Rows:
        return self.server.execute(sql, database=self.database)

    def run_script(self, script: str) -> None:
        where = urlsplit(self.url)
        address = (f"--host={where.hostname}", f"--port={where.port}", "--user=root")
        self._run("mysql", "--no-defaults", *address, self.database, script=script)

    def structure(self) -> list[str]:
        names = [name for (name,) in self.execute("SHOW TABLES")]
        tables = [str(self.execute(f"SHOW CREATE TABLE {name}")[0][1]) for name in names]
        tables = [re.sub(r" AUTO_INCREMENT=\d+", "", table) for table in tables]
        return sorted(line for table in tables for line in table.splitlines())


MakeStore = Callable[[], Store]

LATEST = migrating.SCHEMA_VERSION
Upgrade = Callable[[], None]
"""Makes this process a later version of wg, two steps ahead."""


def add_a_colour(tables: Tables, _flavor: Flavor) -> list[migrating.Change]:
    name = tables.jobs.fullname
    return [migrating.Change(DDL(f"ALTER TABLE {name} ADD COLUMN colour VARCHAR(10)"), (tables.jobs.name, "colour"))]


def add_extras(tables: Tables, _flavor: Flavor) -> list[migrating.Change]:
    extras = Table(tables.name("extras"), MetaData(schema=tables.schema), Column("id", String(64)))
    index = Index(f"{extras.name}_id", extras.c.id)
    return [
        migrating.Change(CreateTable(extras), (extras.name, "")),
        migrating.Change(CreateIndex(index), (extras.name, f"{extras.name}_id")),
    ]
