"""The schema on every SQL store: made once, never taken over, made to the end by whoever comes next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.backends.sql.stores import LATEST, MakeStore, Store, Upgrade, new_job, run_one
from wg_core.backend import Backend
from wg_core.errors import SchemaError
from wg_core.sql import SqlBackend, migrating

LONGEST_NAMESPACE = "n" * 30

many_schemas = pytest.mark.timeout(600)  # on MySQL each schema made and dropped is 300 times fsync


class CutOff(Exception):  # noqa: N818 - what happens, not what is wrong
    """Stands for the end of a process in the middle."""


def cut_off_after(backend: Backend, statements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backend's next migrate run so many statements and then break off, its connection lost."""
    assert isinstance(backend, SqlBackend)
    connections = backend._connections
    writing = connections.writing

    class Cursor:
        def __init__(self, inner: Any, due: set[str]) -> None:
            self._inner, self._due, self._left = inner, due, statements

        def execute(self, text: str, arguments: Any) -> Any:
            if text in self._due:
                if not self._left:
                    raise CutOff
                self._left -= 1
            return self._inner.execute(text, arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    due = set(backend.migrate(dry_run=True).statements)

    @contextmanager
    def cut() -> Iterator[Any]:
        with writing() as cursor:
            yield Cursor(cursor, due)

    monkeypatch.setattr(connections, "writing", cut)


# ---------------------------------------------------------------------- the first time


def test_a_dry_run_tells_the_statements_and_makes_nothing(store: Store) -> None:
    migration = store.open().migrate(dry_run=True)
    assert (migration.from_version, migration.to_version) == (None, LATEST)
    assert sum(statement.startswith("CREATE TABLE") for statement in migration.statements) == 10
    assert store.structure() == []


def test_the_script_makes_the_same_schema_and_a_store_of_its_own_each_time(make_store: MakeStore) -> None:
    by_itself, one, two = make_store(), make_store(), make_store()
    script = by_itself.open().migrate(dry_run=True).script
    by_itself.open().migrate()
    for store in (one, two):
        store.run_script(script)
        assert store.structure() == by_itself.structure()
        assert store.open().migrate(dry_run=True).statements == ()
        run_one(store.open(auto_migrate=False))
    ids = [store.meta().pop("store_id") for store in (by_itself, one, two)]
    assert len(set(ids)) == 3
    assert all(len(store_id) >= 32 for store_id in ids)


def test_a_second_migrate_has_nothing_to_do(store: Store) -> None:
    first = store.open()
    assert first.migrate().statements
    assert first.migrate().statements == ()
    again = store.open().migrate(dry_run=True)
    assert (again.from_version, again.to_version, again.statements) == (LATEST, LATEST, ())
    assert {key: value for key, value in store.meta().items() if key != "store_id"} == {
        "schema_version": str(LATEST),
        "min_compatible": str(migrating.MIN_COMPATIBLE),
    }


def test_a_namespace_of_the_longest_kind_gets_all_its_indexes(make_store: MakeStore) -> None:
    short, long = make_store(), make_store()
    run_one(short.open(namespace="n"))
    run_one(long.open(namespace=LONGEST_NAMESPACE))
    assert len(long.structure()) == len(short.structure())


def test_without_auto_migrate_nothing_is_made_and_the_error_has_the_statements(store: Store) -> None:
    with pytest.raises(SchemaError, match="do not exist, and auto_migrate is off; run 'wg migrate'") as error:
        store.open(auto_migrate=False).enqueue([new_job("a")])
    assert error.value.statements == store.open().migrate(dry_run=True).statements
    assert store.structure() == []
    store.run_script(str(error.value).partition("\n")[2])
    run_one(store.open(auto_migrate=False))


# ---------------------------------------------------------------------- somebody else's tables


@pytest.mark.parametrize("made", ["TABLE wg_jobs (x INTEGER)", "VIEW wg_dead AS SELECT 1 AS x"])
def test_a_table_of_somebody_else_is_never_adopted(store: Store, made: str) -> None:
    store.execute(f"CREATE {made}")
    before = store.structure()
    for call in (store.open().stats, store.open().migrate, lambda: store.open().migrate(dry_run=True)):
        with pytest.raises(SchemaError, match=r"exists but was not made by wg .*: choose another namespace"):
            call()
    assert store.structure() == before


@pytest.mark.parametrize("rows", ["('colour', 'red')", "('schema_version', 'blue'), ('min_compatible', '1')"])
def test_a_meta_table_with_other_rows_is_not_ours(store: Store, product: str, rows: str) -> None:
    key = "`key`" if product == "mysql" else '"key"'
    store.execute(f"CREATE TABLE wg_meta ({key} VARCHAR(64) NOT NULL, value VARCHAR(255) NOT NULL)")
    store.execute(f"INSERT INTO wg_meta VALUES {rows}")
    before = store.structure()
    for call in (store.open().stats, store.open().migrate):
        with pytest.raises(SchemaError, match="does not say schema_version and min_compatible: not ours"):
            call()
    assert store.structure() == before


def test_a_meta_table_with_other_columns_is_not_ours(store: Store) -> None:
    store.execute("CREATE TABLE wg_meta (colour VARCHAR(64))")
    for call in (store.open().stats, store.open().migrate):
        with pytest.raises(SchemaError, match=r"not ours|missing or incomplete"):
            call()


# ---------------------------------------------------------------------- half made


@many_schemas
def test_whoever_comes_next_makes_what_is_missing_wherever_the_making_broke_off(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_store()
    statements = len(whole.open().migrate().statements)
    # In between every statement makes another table or index, as the first few do.
    for done in {*range(7), *range(statements - 3, statements)} if whole.ddl_commits else {0, 1, statements - 1}:
        store = make_store()
        broken = store.open()
        cut_off_after(broken, done, monkeypatch)
        with pytest.raises(CutOff):
            broken.migrate()
        assert bool(store.structure()) == (store.ddl_commits and done > 0), f"after {done} statements"
        due = store.open().migrate(dry_run=True)
        assert (due.from_version, bool(due.statements)) == (None, True)
        with pytest.raises(SchemaError, match="do not exist, and auto_migrate is off"):
            store.open(auto_migrate=False).stats()
        assert store.open().stats().ready == 0
        assert store.structure() == whole.structure(), f"after {done} statements"
        assert store.meta().keys() == whole.meta().keys()
        store.close_backends()


# ---------------------------------------------------------------------- upgrades


def test_the_first_use_upgrades_and_the_version_before_works_on(store: Store, upgrade: Upgrade) -> None:
    before = store.open()
    run_one(before, "a")
    upgrade()
    due = store.open().migrate(dry_run=True)
    assert (due.from_version, due.to_version, len(due.statements)) == (LATEST, LATEST + 2, 5)
    run_one(store.open(), "b", worker="w2")
    assert store.meta()["schema_version"] == str(LATEST + 2)
    assert store.execute("SELECT colour FROM wg_jobs") == store.execute("SELECT id FROM wg_extras") == []
    run_one(before, "c", worker="w3")


@many_schemas
def test_an_upgrade_that_broke_off_is_gone_on_with(
    make_store: MakeStore, upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [make_store() for _ in range(6)]
    for store in stores:
        store.open().migrate()
    upgrade()
    for done, store in enumerate(stores):
        broken = store.open()
        cut_off_after(broken, done, monkeypatch)
        if done < 5:
            with pytest.raises(CutOff):
                broken.migrate()
        else:
            broken.migrate()
        run_one(store.open())
        assert store.meta()["schema_version"] == str(LATEST + 2)
    assert all(store.structure() == stores[-1].structure() for store in stores)


def test_without_auto_migrate_an_old_schema_is_an_error_with_the_statements(store: Store, upgrade: Upgrade) -> None:
    store.open().migrate()
    upgrade()
    expected = f"have version {LATEST}, not {LATEST + 2}, and auto_migrate is off"
    with pytest.raises(SchemaError, match=expected) as error:
        store.open(auto_migrate=False).stats()
    assert error.value.statements == store.open().migrate(dry_run=True).statements
    store.run_script(str(error.value).partition("\n")[2])
    assert store.open(auto_migrate=False).stats().ready == 0


def test_a_newer_schema_is_used_while_it_is_compatible_and_refused_after(store: Store, product: str) -> None:
    store.open().migrate()
    key = "`key`" if product == "mysql" else '"key"'
    store.execute(f"UPDATE wg_meta SET value = '9' WHERE {key} = 'schema_version'")
    run_one(store.open())
    assert store.open().migrate().statements == ()
    store.execute(f"UPDATE wg_meta SET value = '8' WHERE {key} = 'min_compatible'")
    for call in (store.open().stats, store.open().migrate):
        with pytest.raises(SchemaError, match=rf"at least version 8, this wg has version {LATEST}: upgrade wg-core"):
            call()
