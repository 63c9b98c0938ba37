"""Fifty first starts at once on an empty database: nobody fails, and there is one schema."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.sql.stores import MariaDBStore, PostgresStore, SQLiteStore, Store
from wg_core.protocol import StatsLevel

pytestmark = pytest.mark.timeout(480)  # fifty starts, a server's start and its end, on a machine that does other things
STARTER = Path(__file__).with_name("starter.py")
PROCESSES, EACH = 10, 5


class Starters:
    """Processes that are ready to start."""

    def __init__(self) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(STARTER), f"p{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(PROCESSES)
        ]

    def start_at_once(self, store: Store, namespace: str, options: str = "") -> list[str]:
        """Let all of them use the store for the first time; return what each says when it is done."""
        self._tell(f"{store.url}{options} {namespace} {EACH}")
        assert self._hear() == ["here"] * PROCESSES
        self._tell("go")
        return self._hear()

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def _hear(self) -> list[str]:
        return [process.stdout.readline().strip() for process in self._processes if process.stdout]

    def close(self) -> None:
        for process in self._processes:
            process.communicate(timeout=200)


@pytest.fixture(scope="module")
def starters() -> Iterator[Starters]:
    starters = Starters()
    yield starters
    starters.close()


def test_fifty_first_starts_on_sqlite(starters: Starters, tmp_path: Path) -> None:
    # A machine that has other things to do may let somebody wait for longer than the usual five seconds.
    check(starters, SQLiteStore(tmp_path / "jobs.db"), SQLiteStore(tmp_path / "alone.db"), "?busy_timeout=60")


def test_fifty_first_starts_on_postgres(starters: Starters, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server")
    check(starters, PostgresStore(server), PostgresStore(server))


def test_fifty_first_starts_in_a_schema_that_is_missing(starters: Starters, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server")
    check(starters, PostgresStore(server), PostgresStore(server), "?schema=queue")


def test_fifty_first_starts_on_mysql(starters: Starters, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("mariadb_server")
    check(starters, MariaDBStore(server), MariaDBStore(server))


def check(starters: Starters, store: Store, alone: Store, options: str = "") -> None:
    """Compare what the fifty made with what one makes alone."""
    try:
        assert starters.start_at_once(store, "shop", options) == ["done"] * PROCESSES
        alone.open("shop", url=alone.url + options).migrate()
        assert store.structure() == alone.structure()
        backend = store.open("shop", url=store.url + options)
        assert backend.migrate(dry_run=True).statements == ()
        stats = backend.stats(StatsLevel.EXACT)
        # Some may have looked for a job before there was one for everybody.
        assert stats.ready + stats.queues["default"].done == stats.workers == PROCESSES * EACH
        assert stats.running == 0
    finally:
        store.close()
        alone.close()
