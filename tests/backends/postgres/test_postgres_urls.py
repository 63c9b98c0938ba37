"""URL forms and options, and what is said about wrong ones. Nothing here reaches a server."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wg_core.errors import ConfigError
from wg_core.registry import open_backend
from wg_core.sql import PoolOptions
from wg_postgres.connections import parameters
from wg_postgres.options import PostgresOptions, parse_url

SECRET = "s3cr3t"


def parsed(url: str, **keywords: object) -> PostgresOptions:
    return parse_url(url, keywords)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_every_scheme_opens_the_same_backend_without_reaching_a_server(scheme: str) -> None:
    with open_backend(f"{scheme}://nobody@no.such.host.invalid/db") as backend:
        assert type(backend).__name__ == "PostgresBackend"


def test_libpq_reads_the_url() -> None:
    known = parsed("postgresql+psycopg://ada:p%40ss%2Fw@db1:5433,db2:5434/app?sslmode=verify-full&user=x").conninfo
    assert (known["host"], known["port"], known["dbname"], known["password"]) == (
        "db1,db2",
        "5433,5434",
        "app",
        "p@ss/w",
    )
    assert known["sslmode"] == "verify-full"


@pytest.mark.parametrize("url", ["postgres://%2Frun%2Fpg/app", "postgres:///app?host=/run/pg"])
def test_a_unix_socket_is_a_host_that_is_a_folder(url: str) -> None:
    known = parsed(url).conninfo
    assert (known["host"], known["dbname"]) == ("/run/pg", "app")


def test_of_several_hosts_one_that_can_be_written_is_taken() -> None:
    assert parsed("postgres://db1,db2/app").conninfo["target_session_attrs"] == "read-write"
    assert parsed("postgres://db1,db2/app?target_session_attrs=any").conninfo["target_session_attrs"] == "any"
    assert "target_session_attrs" not in parsed("postgres://db/app").conninfo


def test_keywords_win_over_the_url() -> None:
    options = parsed("postgres://db/app?sslmode=disable&pool_size=3", sslmode="require", pool_size=4, dbname="other")
    assert options.conninfo["sslmode"] == "require"
    assert options.conninfo["dbname"] == "other"
    assert options.pool == PoolOptions(pool_size=4)


def test_no_call_waits_for_ever_by_default() -> None:
    options = parsed("postgres://db/app")
    assert options.conninfo["connect_timeout"] == "10"
    assert options.conninfo["tcp_user_timeout"] == "30000"
    assert options.session_settings["statement_timeout"] == "60000"
    assert options.session_settings["lock_timeout"] == "5000"
    shorter = parsed("postgres://db/app?connect_timeout=3", lock_timeout=timedelta(seconds=2), statement_timeout=0)
    assert shorter.conninfo["connect_timeout"] == "3"
    assert (shorter.session_settings["lock_timeout"], shorter.session_settings["statement_timeout"]) == ("2000", "0")


def test_settings_of_the_session_come_before_those_of_the_user() -> None:
    options = parsed("postgres://db/app?options=-c%20work_mem%3D9MB%20-c%20lock_timeout%3D1")
    sent = parameters(options, options.conninfo)["options"]
    assert sent.endswith("-c work_mem=9MB -c lock_timeout=1")
    assert "-c default_transaction_isolation=read\\ committed" in sent


def test_behind_pgbouncer_nothing_is_set_for_a_session_and_waiting_polls() -> None:
    options = parsed("postgres://db/app?prepared_statements=false")
    assert "options" not in parameters(options, options.conninfo)
    assert (options.listen, options.poll_interval) == (False, 0.1)
    direct = parsed("postgres://db/app?prepared_statements=false", listen_url="postgres://direct/app?sslmode=require")
    assert (direct.listen, direct.poll_interval) == (True, 2.0)
    assert (direct.listen_conninfo["host"], direct.listen_conninfo["sslmode"]) == ("direct", "require")
    assert direct.conninfo["host"] == "db"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgres:db", "looks like 'postgres://user:password@host:5432/database'"),
        ("postgres://db/app#x", "looks like 'postgres://user:password@host"),
        ("postgres://db/app%zz", "looks like 'postgres://user:password@host"),
        ("postgres://db:port:x/app", "looks like 'postgres://user:password@host"),
        ("postgres://db/app?sslmod=require", "unknown option 'sslmod' of postgres:, did you mean 'sslmode'?"),
        ("postgres://db/app?pool_sise=3", "unknown option 'pool_sise' of postgres:, did you mean 'pool_size'?"),
        ("postgres://db/app?client_encoding=latin1", "unknown option 'client_encoding'"),
        ("postgres://db/app?listen=maybe", "option listen of postgres: must be true or false, got 'maybe'"),
        ("postgres://db/app?poll_interval=0", "option poll_interval of postgres: must be a number of seconds"),
        ("postgres://db/app?schema=", "option schema of postgres: must be the name of a schema"),
        ("postgres://db/app?schema=it's", "without ' : % and"),
        ("postgres://db/app?schema=a%25b", "without ' : % and"),
        ("postgres://db/app?sslmode", "must be name=value pairs"),
    ],
)
def test_a_wrong_url_or_option_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://ada:{SECRET}@db:x:y/app",
        f"postgres://ada:{SECRET}%zz@db/app",
        f"postgres://ada:{SECRET}@db/app#frag",
        f"postgres://ada:p?{SECRET}=1@db/app",
        f"postgres://ada:p?{SECRET}&x=@db/app",
        f"postgres://ada:p?{SECRET}=&x=@db/app",
        f"postgres://db/app%zz?password={SECRET}",
        f"postgres://db/app%zz?listen_url=postgres%3A%2F%2Fada%3A{SECRET}%40db%2Fapp",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_password_is_in_the_representation_of_the_options() -> None:
    options = parsed(f"postgres://ada:{SECRET}@db/app?listen_url=postgres://ada:{SECRET}@direct/app")
    assert SECRET not in repr(options)
    assert SECRET not in options.address
    assert options.address == "db/app"


def test_a_password_that_is_no_text_is_refused_unseen() -> None:
    with pytest.raises(ConfigError, match="option password of postgres: must be text, got a bytes") as caught:
        parsed("postgres://db/app", password=SECRET.encode())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout"])
def test_a_limit_of_the_session_is_refused_where_there_is_no_session(name: str) -> None:
    with pytest.raises(ConfigError, match=f"ALTER ROLE … SET {name}"):
        parse_url(f"postgres://db/app?prepared_statements=false&{name}=1", {})
