"""What people type wrong: each mistake ends in one clear line, without a traceback and without the password."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wg_core import ConfigError
from wg_core.registry import open_backend
from wg_core.testing.servers import MariaDBServer, PostgresServer

PASSWORD = "geheim"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server that wants a password from everybody but its owner."""
    with PostgresServer(fsync=False) as server:
        server.execute(f"CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'")
        rules = ("host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256")
        (server.data_folder / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        server.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def mariadb(mariadb_server: MariaDBServer) -> Iterator[MariaDBServer]:
    mariadb_server.execute("CREATE DATABASE mistakes CHARACTER SET utf8mb4")
    mariadb_server.execute(f"CREATE USER ada@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    mariadb_server.execute("GRANT ALL ON mistakes.* TO ada@'127.0.0.1'")
    yield mariadb_server
    mariadb_server.execute("DROP USER ada@'127.0.0.1'")
    mariadb_server.execute("DROP DATABASE mistakes")


def status(url: str) -> tuple[int, str]:
    """Return exit code and stderr of `wg status`."""
    command = (sys.executable, "-m", "wg_core.cli", "status", "--url", url)
    # Where no name server answers, the system would look for a host for a minute.
    environment = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada:gehe@im@db/app",
        "postgres://ada:gehe/im@db/app",
        "postgres://ada:gehe?im@db/app",
        "postgres://ada:gehe#im@db/app",
        "postgres://ada:geheim%@db/app",
        "postgres:/ada:geheim@db/app",
        "postgres://ada:geheim@db:port/app",
        "mysql://ada:gehe/im@db/app",
        "mysql://ada:gehe?im@db/app",
        "mysql://ada:gehe#im@db/app",
        "mysql://ada:geheim@db:port/app",
        "mysql:ada:geheim@db/app",
        "mysql://ada:geheim@db",
    ],
)
def test_a_url_that_is_none_is_refused_without_a_word_of_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url)
    assert "gehe" not in str(caught.value)
    assert "im@" not in str(caught.value)
    assert "URL" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql+psycopg2://ada:geheim@db/app", "write 'postgresql://…' instead of 'postgresql+psycopg2://…'"),
        ("postgres+asyncpg://ada:geheim@db/app", "write 'postgres://…' instead of 'postgres+asyncpg://…'"),
        ("mysql+mysqldb://ada:geheim@db/app", "write 'mysql://…' instead of 'mysql+mysqldb://…'"),
        ("mariadb+mariadbconnector://ada:geheim@db/app", "write 'mariadb://…'"),
    ],
)
def test_another_driver_in_the_scheme_is_answered_with_what_to_write(url: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url)
    assert hint in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("ada:wrong@{host}/wg", "password authentication failed"),
        ("ada@{host}/wg", "no password supplied"),
        ("ada:geheim@127.0.0.1:1/wg", "Connection refused"),
        ("ada:geheim@host.invalid/wg", "host.invalid"),
        ("ada:geheim@{host}/nowhere", 'database "nowhere" does not exist'),
        ("ada:geheim@{host}", "name another one in the URL"),
        ("ada:geheim@{host}/wg?sslmode=maybe", "invalid sslmode value"),
    ],
)
def test_one_line_says_what_is_wrong_with_postgres(where: str, said: str, postgres: PostgresServer) -> None:
    code, text = status("postgres://" + where.format(host=f"127.0.0.1:{postgres.port}"))
    assert code == 3
    assert said in text
    assert text.count("\n") == 1
    assert PASSWORD not in text


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("ada:wrong@{host}/mistakes", 3, "check user, password and rights"),
        ("ada@{host}/mistakes", 3, "using password: NO"),
        ("ada:geheim@127.0.0.1:1/mistakes", 3, "Connection refused"),
        ("ada:geheim@host.invalid/mistakes", 3, "host.invalid"),
        ("ada:geheim@{host}/hers", 3, "to database 'hers'"),
        ("root@{host}/nowhere", 3, "CREATE DATABASE `nowhere`"),
    ],
)
def test_one_line_says_what_is_wrong_with_mariadb(where: str, code: int, said: str, mariadb: MariaDBServer) -> None:
    found, text = status("mysql://" + where.format(host=f"127.0.0.1:{mariadb.port}"))
    assert found == code
    assert said in text
    assert text.count("\n") == 1
    assert PASSWORD not in text
