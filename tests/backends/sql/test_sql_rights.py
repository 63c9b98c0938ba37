"""Users who may not create tables: told the statements while they are due, never in need of more than rows after."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.backends.sql.stores import LATEST, MakeStore, MariaDBStore, PostgresStore, Store, Upgrade, run_one
from tests.docs.markdown import ROOT, blocks
from wg_core.errors import BackendRejectedError, SchemaError

PAGE = ROOT / "docs/how-to/migrations.md"


def documented(beginning: str) -> str:
    """Return the statements that the page tells a database administrator to run."""
    (found,) = [block.text for block in blocks(PAGE) if block.text.startswith(f"-- {beginning}\n")]
    return found.partition("\n")[2]


class Guest:
    """A user of the database who may connect, and nothing else until it is granted."""

    def __init__(self, store: PostgresStore | MariaDBStore) -> None:
        self.store = store
        self.name = f"guest_{uuid.uuid4().hex[:12]}"
        self.url = store.url_as(self.name)
        self._is_postgres = isinstance(store, PostgresStore)
        if self._is_postgres:
            store.execute(f"CREATE ROLE {self.name} LOGIN")
        else:
            store.execute(f"CREATE USER {self.name}@127.0.0.1")

    def grant(self, beginning: str) -> None:
        """Run what the page tells to run, for this user."""
        sql = documented(beginning).replace("shop.*", f"{self.store.database}.*").replace("'%'", "127.0.0.1")
        self.store.execute(sql.replace("shop_worker", self.name).replace("shop_owner", self.name))

    def grant_rows(self) -> None:
        """Let the user work on jobs."""
        self.grant("PostgreSQL" if self._is_postgres else "MySQL, MariaDB")

    def grant_tables(self) -> None:
        """Let the user migrate."""
        if self._is_postgres:
            self.store.execute(f"GRANT CREATE ON SCHEMA public TO {self.name}")
        else:
            self.grant("MySQL, MariaDB: the user of wg migrate")

    def leave(self) -> None:
        if self._is_postgres:
            self.store.execute(f"DROP OWNED BY {self.name}")
            self.store.execute(f"DROP ROLE {self.name}")
        else:
            self.store.execute(f"DROP USER {self.name}@127.0.0.1")


@pytest.fixture(params=["postgres", "mysql"])
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def guest(make_store: MakeStore) -> Iterator[Guest]:
    store = make_store()
    assert isinstance(store, PostgresStore | MariaDBStore)
    guest = Guest(store)
    if isinstance(store, MariaDBStore):
        guest.grant_rows()  # without any right nobody may even enter a database
    yield guest
    store.close_backends()
    guest.leave()


@pytest.fixture
def store(guest: Guest) -> Store:
    return guest.store


def test_who_may_not_create_is_told_the_statements_and_works_once_they_have_run(guest: Guest, store: Store) -> None:
    backend = store.open(url=guest.url)
    with pytest.raises(SchemaError, match=r"do not exist, and making them was refused \(.*denied") as error:
        run_one(backend)
    assert error.value.statements == store.open().migrate(dry_run=True).statements
    assert store.structure() == []
    first_line, _, script = str(error.value).partition("\n")
    assert "run 'wg migrate' as a user who may, or these statements" in first_line
    store.run_script(script)
    guest.grant_rows()
    run_one(backend)  # any DDL would be refused
    run_one(store.open(url=guest.url), "b", worker="w2")


def test_who_may_not_alter_is_told_the_statements_of_an_upgrade(guest: Guest, store: Store, upgrade: Upgrade) -> None:
    store.open().migrate()
    guest.grant_rows()
    before = store.open(url=guest.url)
    run_one(before)
    upgrade()
    later = store.open(url=guest.url)
    with pytest.raises(SchemaError, match=f"have version {LATEST}, not {LATEST + 2}, and making them") as error:
        later.stats()
    assert error.value.statements == store.open().migrate(dry_run=True).statements
    assert store.meta()["schema_version"] == str(LATEST)
    run_one(before, "b", worker="w2")
    store.run_script(str(error.value).partition("\n")[2])
    run_one(later, "c", worker="w3")


def test_who_may_migrate_needs_nobody(guest: Guest, store: Store, upgrade: Upgrade) -> None:
    guest.grant_tables()
    run_one(store.open(url=guest.url))
    upgrade()
    run_one(store.open(url=guest.url), "b", worker="w2")
    assert store.meta()["schema_version"] == str(LATEST + 2)


@pytest.mark.parametrize("product", ["mysql"])  # nothing is ever half made elsewhere
def test_a_schema_that_rights_left_half_made_names_what_is_missing(guest: Guest, store: Store) -> None:
    store.execute(f"GRANT CREATE ON {guest.store.database}.* TO {guest.name}@127.0.0.1")  # and not INDEX
    with pytest.raises(SchemaError, match="INDEX command denied") as error:
        store.open(url=guest.url).stats()
    everything = store.open("other").migrate(dry_run=True).statements
    assert 0 < len(error.value.statements) < len(everything)
    store.run_script(str(error.value).partition("\n")[2])
    run_one(store.open(url=guest.url))


def test_who_may_not_read_the_tables_hears_so_and_gets_no_statements(guest: Guest, store: Store) -> None:
    store.open().migrate()
    if store.ddl_commits:
        store.execute(f"REVOKE ALL ON {guest.store.database}.* FROM {guest.name}@127.0.0.1")
    with pytest.raises(BackendRejectedError, match=r"denied"):
        store.open(url=guest.url).stats()
