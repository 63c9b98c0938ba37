"""The conformance suite on the memory backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from wg_core import memory
from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.contract import *  # noqa: F403

URL = "memory:"


@pytest.fixture
def backend_url(namespace: str) -> Iterator[str]:
    yield URL
    memory.clear(URL, namespace)


@pytest.fixture
def residue(backend_url: str, namespace: str) -> Callable[[], Mapping[str, int]]:
    """Count the elements of everything that the store keeps."""
    store = memory.MemoryBackend.open(backend_url, namespace)._store

    def count() -> Mapping[str, int]:
        kept = {name: len(value) for name, value in vars(store).items() if hasattr(value, "__len__")}
        indexed = sum(len(index) for index in store.indexes.values())
        return {**kept, "indexed": indexed, "ready": sum(len(queue.ready) for queue in store.queues.values())}

    return count


def test_what_the_memory_backend_declares(backend: Backend) -> None:
    assert backend.capabilities == {Capability.INSPECT, Capability.ALTER, Capability.DELAY, Capability.PAUSE}
