"""The conformance suite on SQLite in memory."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.contract import *  # noqa: F403


@pytest.fixture
def backend_url() -> str:
    return "sqlite::memory:"


def test_what_the_sqlite_backend_declares_in_memory(backend: Backend) -> None:
    assert backend.capabilities == {Capability.INSPECT, Capability.ALTER, Capability.DELAY, Capability.PAUSE}
