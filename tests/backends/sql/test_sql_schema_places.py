"""Where the tables are: a PostgreSQL schema of their own, another MySQL database; and who is changing them now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

import wg_mysql.flavor
import wg_postgres.flavor
from tests.backends.sql.stores import MariaDBStore, PostgresStore, new_job, run_one
from wg_core.errors import BackendRejectedError, BackendUnavailableError, ConfigError, SchemaError
from wg_core.testing.servers import MariaDBServer, PostgresServer


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres_server)
    yield store
    store.close()


@pytest.fixture
def mariadb(mariadb_server: MariaDBServer) -> Iterator[MariaDBStore]:
    store = MariaDBStore(mariadb_server)
    yield store
    store.close()


def tables_by_schema(store: PostgresStore) -> dict[str, int]:
    rows = store.execute(
        "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') "
        "GROUP BY schemaname"
    )
    return dict(rows)


# ---------------------------------------------------------------------- a schema of one's own


def test_a_missing_schema_is_made_with_the_tables_in_it(postgres: PostgresStore) -> None:
    due = postgres.open(schema="queue").migrate(dry_run=True)
    assert due.statements[0] == "CREATE SCHEMA queue"
    run_one(postgres.open(url=f"{postgres.url}?schema=queue"))
    assert tables_by_schema(postgres) == {"queue": 10}
    assert postgres.open(schema="queue").migrate(dry_run=True).statements == ()


def test_the_script_makes_schema_and_tables(postgres: PostgresStore) -> None:
    postgres.run_script(postgres.open(schema="Jobs of 2030").migrate(dry_run=True).script)
    run_one(postgres.open(schema="Jobs of 2030", auto_migrate=False))
    assert tables_by_schema(postgres) == {"Jobs of 2030": 10}


def test_two_schemas_are_two_stores_with_one_namespace(postgres: PostgresStore) -> None:
    one, two, neither = postgres.open(schema="one"), postgres.open(schema="two"), postgres.open()
    one.enqueue([new_job("a"), new_job("b")])
    two.enqueue([new_job("a")])
    neither.migrate()
    assert [backend.stats().ready for backend in (one, two, neither)] == [2, 1, 0]
    assert tables_by_schema(postgres) == {"one": 10, "two": 10, "public": 10}
    ids = {
        postgres.execute(f"SELECT value FROM {schema}.wg_meta WHERE key = 'store_id'")[0] for schema in ("one", "two")
    }
    assert len(ids) == 2


def test_a_table_of_somebody_else_in_the_schema_is_never_adopted_and_one_elsewhere_no_concern(
    postgres: PostgresStore,
) -> None:
    postgres.execute("CREATE SCHEMA queue; CREATE TABLE queue.wg_jobs (x integer)")
    with pytest.raises(SchemaError, match="'wg_jobs' exists but was not made by wg"):
        postgres.open(schema="queue").migrate()
    run_one(postgres.open())
    run_one(postgres.open(schema="another"))


def test_who_may_not_make_the_schema_is_told_the_statement(postgres: PostgresStore) -> None:
    role = f"guest_{postgres.database}"
    postgres.execute(f"CREATE ROLE {role} LOGIN")
    try:
        guest = postgres.open(url=postgres.url_as(role), schema="queue")
        with pytest.raises(SchemaError, match="permission denied for database") as error:
            guest.stats()
        assert error.value.statements[0] == "CREATE SCHEMA queue"
        postgres.execute(f"CREATE SCHEMA queue AUTHORIZATION {role}")
        run_one(guest)  # the owner of a schema needs nobody's help
    finally:
        postgres.close_backends()
        postgres.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_no_schema_to_create_in_is_told_with_the_statements(postgres: PostgresStore) -> None:
    lost = postgres.open(options="-c search_path=nowhere")
    with pytest.raises(SchemaError, match="no schema has been selected to create in") as error:
        lost.stats()
    assert error.value.statements


# ---------------------------------------------------------------------- a database of one's own


def test_two_databases_are_two_stores_with_one_namespace(mariadb: MariaDBStore, mariadb_server: MariaDBServer) -> None:
    another = MariaDBStore(mariadb_server)
    try:
        mariadb.open().enqueue([new_job("a"), new_job("b")])
        another.open().enqueue([new_job("a")])
        assert (mariadb.open().stats().ready, another.open().stats().ready) == (2, 1)
        assert mariadb.meta()["store_id"] != another.meta()["store_id"]
    finally:
        another.close()


def test_a_missing_database_is_told_with_the_statement(mariadb: MariaDBStore) -> None:
    nowhere = mariadb.open(url=mariadb.url.replace(mariadb.database, "no_such_place"))
    with pytest.raises(BackendRejectedError, match="CREATE DATABASE `no_such_place` CHARACTER SET utf8mb4"):
        nowhere.migrate()


def test_only_postgres_has_schemas(mariadb: MariaDBStore) -> None:
    with pytest.raises(ConfigError, match="unknown option 'schema' of mysql"):
        mariadb.open(schema="queue")


# ---------------------------------------------------------------------- somebody is changing it


def test_a_change_that_takes_too_long_is_waited_for_and_then_told_on_postgres(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wg_postgres.flavor, "_SCHEMA_LOCK_SECONDS", 1)
    slow, patient = postgres.open(), postgres.open()
    with locked(slow), pytest.raises(BackendUnavailableError, match="others have been changing the schema"):
        patient.migrate()
    run_one(patient)


def test_a_change_that_takes_too_long_is_waited_for_and_then_told_on_mysql(
    mariadb: MariaDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wg_mysql.flavor, "_SCHEMA_LOCK_SECONDS", 1)
    slow, patient = mariadb.open(), mariadb.open()
    with locked(slow), pytest.raises(BackendUnavailableError, match="others have been changing the schema"):
        patient.migrate()
    run_one(patient)


@contextlib.contextmanager
def locked(backend: Any) -> Iterator[None]:
    """Hold the lock of the schema in another transaction."""
    with backend._connections.writing() as cursor:
        tx = backend._store.transaction(cursor, None)
        with backend._flavor.lock_schema(tx):
            yield
