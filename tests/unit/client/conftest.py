"""A memory store of the test's own, and a configuration that no other test sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from wg_core import Client, HandlerRegistry, config, memory
from wg_core.registry import open_backend
from wg_core.testing.faults import FaultyBackend

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start and end unconfigured, with nothing in the environment."""
    monkeypatch.delenv("WG_URL", raising=False)
    monkeypatch.delenv("WG_NAMESPACE", raising=False)
    config.configure()
    yield
    config.configure()


@pytest.fixture
def store() -> Iterator[FaultyBackend]:
    """An empty memory store that can be told to fail."""
    url = f"memory:client-{next(_numbers)}"
    with FaultyBackend(open_backend(url)) as backend:
        yield backend
    memory.clear(url)


@pytest.fixture
def registry() -> HandlerRegistry:
    """Handlers of the test's own."""
    return HandlerRegistry()


@pytest.fixture
def client(store: FaultyBackend, registry: HandlerRegistry) -> Client:
    """A client of the test's store and handlers."""
    return Client(store, handlers=registry, enqueue_timeout=30)
