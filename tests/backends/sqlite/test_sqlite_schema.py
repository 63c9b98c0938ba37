"""The schema: created once, never taken over, and its versions respected."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.sql.ddl import DDL

from tests.backends.sqlite.support import OpenSQLite, new_job
from wg_core.errors import SchemaError
from wg_core.sql import migrating


def execute(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def versions(database: Path, namespace: str = "wg") -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute(f"SELECT key, value FROM {namespace}_meta"))


def test_a_dry_run_tells_the_statements_and_creates_no_file(open_sqlite: OpenSQLite, database: Path) -> None:
    migration = open_sqlite().migrate(dry_run=True)
    assert (migration.from_version, migration.to_version) == (None, migrating.SCHEMA_VERSION)
    assert any(statement.startswith("CREATE TABLE wg_jobs") for statement in migration.statements)
    assert not database.exists()


def test_the_statements_of_a_dry_run_make_the_same_schema(
    open_sqlite: OpenSQLite, database: Path, tmp_path: Path
) -> None:
    by_hand = tmp_path / "by_hand.db"
    execute(by_hand, *open_sqlite().migrate(dry_run=True).statements)
    open_sqlite().migrate()
    schemas = []
    for path in (database, by_hand):
        with closing(sqlite3.connect(path)) as connection:
            schemas.append(sorted(connection.execute("SELECT type, name, sql FROM sqlite_schema"), key=str))
    assert schemas[0] == schemas[1]
    assert open_sqlite(f"sqlite:{by_hand}").enqueue([new_job("a")])[0].stored


def test_a_second_migrate_has_nothing_to_do(open_sqlite: OpenSQLite, database: Path) -> None:
    first, second = open_sqlite(), open_sqlite()
    assert first.migrate().statements
    assert first.migrate().statements == ()
    assert second.migrate(dry_run=True).from_version == migrating.SCHEMA_VERSION
    assert versions(database) == {"schema_version": "1", "min_compatible": "1"}


@pytest.mark.parametrize("kind", ["TABLE wg_jobs (x)", "VIEW wg_dead AS SELECT 1 AS x"])
def test_a_table_of_somebody_else_is_never_adopted(open_sqlite: OpenSQLite, database: Path, kind: str) -> None:
    execute(database, f"CREATE {kind}")
    for call in (open_sqlite().stats, open_sqlite().migrate, lambda: open_sqlite().migrate(dry_run=True)):
        with pytest.raises(SchemaError, match=r"exists but was not made by wg .*: choose another namespace"):
            call()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)


def test_tables_of_other_names_and_namespaces_are_no_concern(open_sqlite: OpenSQLite, database: Path) -> None:
    execute(database, "CREATE TABLE orders (id)", "CREATE TABLE jobs (id)")
    open_sqlite(namespace="shop").enqueue([new_job("a")])
    open_sqlite(namespace="shop_two").enqueue([new_job("a")])
    assert open_sqlite(namespace="shop").stats().ready == 1


def test_a_meta_table_that_does_not_tell_its_version_is_not_ours(open_sqlite: OpenSQLite, database: Path) -> None:
    execute(database, "CREATE TABLE wg_meta (key, value)")
    with pytest.raises(SchemaError, match="does not say schema_version"):
        open_sqlite().stats()


def test_a_newer_schema_is_used_while_it_is_compatible(open_sqlite: OpenSQLite, database: Path) -> None:
    open_sqlite().enqueue([new_job("a")])
    execute(database, "UPDATE wg_meta SET value = '7' WHERE key = 'schema_version'")
    assert open_sqlite().stats().ready == 1
    assert open_sqlite().migrate().statements == ()


def test_a_schema_that_needs_a_newer_wg_is_refused(open_sqlite: OpenSQLite, database: Path) -> None:
    open_sqlite().migrate()
    execute(
        database,
        "UPDATE wg_meta SET value = '7' WHERE key = 'schema_version'",
        "UPDATE wg_meta SET value = '6' WHERE key = 'min_compatible'",
    )
    with pytest.raises(SchemaError, match="need at least version 6, this wg has version 1: upgrade wg-core") as error:
        open_sqlite().stats()
    assert error.value.version == 7


def test_steps_bring_an_older_schema_up_to_date(
    open_sqlite: OpenSQLite, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_sqlite().enqueue([new_job("a")])
    monkeypatch.setattr(migrating, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(
        migrating,
        "STEPS",
        {
            2: lambda tables: [DDL(f"ALTER TABLE {tables.jobs.name} ADD COLUMN colour VARCHAR(10)")],
            3: lambda tables: [DDL(f"CREATE TABLE {tables.name('extras')} (id VARCHAR(64))")],
        },
    )
    migration = open_sqlite().migrate(dry_run=True)
    assert (migration.from_version, migration.to_version, len(migration.statements)) == (1, 3, 4)
    assert open_sqlite().stats().ready == 1  # the first use migrates by itself
    assert versions(database) == {"schema_version": "3", "min_compatible": "1"}
    execute(database, "SELECT colour FROM wg_jobs", "SELECT id FROM wg_extras")
