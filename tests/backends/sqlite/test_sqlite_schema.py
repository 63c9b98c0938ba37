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
    stored = versions(database)
    assert len(stored.pop("store_id")) == 32
    assert stored == {"schema_version": "2", "min_compatible": "1"}


def test_statements_printed_once_and_run_twice_make_two_stores(open_sqlite: OpenSQLite, tmp_path: Path) -> None:
    statements = open_sqlite().migrate(dry_run=True).statements
    for name in ("one.db", "two.db"):
        execute(tmp_path / name, *statements)
    assert versions(tmp_path / "one.db")["store_id"] != versions(tmp_path / "two.db")["store_id"]


def test_the_first_use_names_a_store_of_version_1(open_sqlite: OpenSQLite, database: Path) -> None:
    open_sqlite().enqueue([new_job("a")])
    execute(
        database,
        "DELETE FROM wg_meta WHERE key = 'store_id'",
        "UPDATE wg_meta SET value = '1' WHERE key = 'schema_version'",
    )
    due = open_sqlite().migrate(dry_run=True)
    assert (due.from_version, due.to_version, len(due.statements)) == (1, 2, 3)
    assert open_sqlite().stats().ready == 1
    assert versions(database)["schema_version"] == "2"
    assert len(versions(database)["store_id"]) == 32


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
    with pytest.raises(SchemaError, match="need at least version 6, this wg has version 2: upgrade wg-core") as error:
        open_sqlite().stats()
    assert error.value.version == 7


def test_steps_bring_an_older_schema_up_to_date(
    open_sqlite: OpenSQLite, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_sqlite().enqueue([new_job("a")])
    monkeypatch.setattr(migrating, "SCHEMA_VERSION", 4)
    monkeypatch.setattr(
        migrating,
        "STEPS",
        {
            3: lambda tables, _: [migrating.Change(DDL(f"ALTER TABLE {tables.jobs.name} ADD COLUMN colour TEXT"))],
            4: lambda tables, _: [migrating.Change(DDL(f"CREATE TABLE {tables.name('extras')} (id TEXT)"))],
        },
    )
    migration = open_sqlite().migrate(dry_run=True)
    assert (migration.from_version, migration.to_version, len(migration.statements)) == (2, 4, 4)
    assert open_sqlite().stats().ready == 1  # the first use migrates by itself
    assert versions(database)["schema_version"] == "4"
    execute(database, "SELECT colour FROM wg_jobs", "SELECT id FROM wg_extras")


def test_without_auto_migrate_a_missing_or_old_schema_is_an_error_with_the_statements(
    open_sqlite: OpenSQLite, database: Path
) -> None:
    with pytest.raises(SchemaError, match="do not exist, and auto_migrate is off; run 'wg migrate'") as error:
        open_sqlite(auto_migrate=False).stats()
    assert error.value.statements == open_sqlite().migrate(dry_run=True).statements
    assert not database.exists()
    open_sqlite(auto_migrate=False).migrate()  # because somebody asked for it
    assert open_sqlite(auto_migrate=False).stats().ready == 0
    execute(database, "UPDATE wg_meta SET value = '1' WHERE key = 'schema_version'")
    with pytest.raises(SchemaError, match="have version 1, not 2, and auto_migrate is off") as error:
        open_sqlite(auto_migrate=False).enqueue([new_job("a")])
    assert all(f"{statement};" in str(error.value) for statement in error.value.statements)
