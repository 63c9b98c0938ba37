"""The stores of these tests, and supervisors that are gone at their end."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from supervised import NAMESPACE, Supervised, enqueue_job

from wg_core.backend import Backend
from wg_core.registry import open_backend
from wg_core.testing.servers import MariaDBServer, PostgresServer

STORES = ["sqlite", "redis"]
if os.environ.get("WG_FAULTS") == "full":  # in `nox -s faults`, which takes its time
    STORES += ["postgres", "mysql"]


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store that several processes can share."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'jobs.db'}"
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        return url
    server: PostgresServer | MariaDBServer = request.getfixturevalue(
        "postgres_server" if request.param == "postgres" else "mariadb_server"
    )
    return server.create_database(f"supervised_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def backend(store_url: str) -> Iterator[Backend]:
    with open_backend(store_url, namespace=NAMESPACE) as opened:
        yield opened


@pytest.fixture
def enqueue(backend: Backend) -> Callable[..., str]:
    """Enqueue a job by name and return its id."""

    return functools.partial(enqueue_job, backend)


@pytest.fixture
def new_supervisor(tmp_path: Path) -> Iterator[Callable[[str], Supervised]]:
    """Make supervisors, not started yet, that are gone at the end of the test, whatever happens."""
    with contextlib.ExitStack() as ends:

        def make(url: str) -> Supervised:
            supervised = Supervised(url, tmp_path)
            ends.callback(supervised.end)
            return supervised

        yield make


@pytest.fixture
def supervised(new_supervisor: Callable[[str], Supervised], store_url: str) -> Supervised:
    return new_supervisor(store_url)
