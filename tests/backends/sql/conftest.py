from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.sql.stores import (
    LATEST,
    MakeStore,
    MariaDBStore,
    PostgresStore,
    SQLiteStore,
    Store,
    Upgrade,
    add_a_colour,
    add_extras,
)
from wg_core.sql import migrating


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_store(product: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Give one empty database of a product after the other."""
    made: list[Store] = []

    def make() -> Store:
        if product == "sqlite":
            made.append(SQLiteStore(tmp_path / f"jobs{len(made)}.db"))
        elif product == "postgres":
            made.append(PostgresStore(request.getfixturevalue("postgres_server")))
        else:
            made.append(MariaDBStore(request.getfixturevalue("mariadb_server")))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Upgrade:
    """Make this process a later version of wg, two steps ahead."""

    def upgrade() -> None:
        monkeypatch.setattr(migrating, "SCHEMA_VERSION", LATEST + 2)
        monkeypatch.setattr(migrating, "STEPS", {LATEST + 1: add_a_colour, LATEST + 2: add_extras})

    return upgrade
