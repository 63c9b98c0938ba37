"""The stores of the fault tests: each test has its own, because it may be killed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from trees import NAMESPACE, Log, Tree
from wg_core.backend import Backend
from wg_core.registry import open_backend
from wg_core.testing.servers import MariaDBServer, PostgresServer, PrivateServer, RedisServer

SERVERS: dict[str, type[PrivateServer]] = {"redis": RedisServer, "postgres": PostgresServer, "mysql": MariaDBServer}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A durable server, as started without any option."""
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(params=["sqlite", *SERVERS])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that several processes can share."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'jobs.db'}"
    else:
        with SERVERS[request.param]() as running:
            yield running.url


@pytest.fixture
def backend(store_url: str) -> Iterator[Backend]:
    with open_backend(store_url, namespace=NAMESPACE) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("WG_FAULT_LOG", str(tmp_path / "faults.log"))
    return Log(tmp_path / "faults.log")


@pytest.fixture
def start_tree(tmp_path: Path, log: Log) -> Iterator[Callable[..., Tree]]:
    """Start worker trees that are gone at the end of the test, whatever happens."""
    with contextlib.ExitStack() as ends:

        def start(url: str, *options: str, processes: int = 2, threads: int = 4) -> Tree:
            tree = Tree(url, NAMESPACE, tmp_path, log, options, processes, threads)
            ends.callback(tree.end)
            return tree.start()

        yield start
