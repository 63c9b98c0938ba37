"""The conformance suite on a private MariaDB, as it is used there."""

from __future__ import annotations

import pytest

from tests.contract import mysql_store
from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.contract import *  # noqa: F403

# Not by importing them, because the suite's own come last.
backend_options = mysql_store.backend_options
connect_as_caller = mysql_store.connect_as_caller
made_namespace = mysql_store.made_namespace
namespace = mysql_store.namespace
residue = mysql_store.residue


@pytest.fixture
def backend_url(mysql_url: str) -> str:
    return mysql_url


def test_what_the_mysql_backend_declares(backend: Backend) -> None:
    assert backend.capabilities == {
        Capability.INSPECT,
        Capability.ALTER,
        Capability.DELAY,
        Capability.PAUSE,
        Capability.TRANSACTIONAL,
        Capability.MULTI_PROCESS,
        Capability.DURABLE,
    }
