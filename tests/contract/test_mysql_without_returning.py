"""The conformance suite on a private MariaDB with the statements that MySQL gets, which has no DELETE … RETURNING."""

from __future__ import annotations

import pytest

from tests.contract import mysql_store
from wg_core.backend import Backend
from wg_core.testing.contract import *  # noqa: F403

# Not by importing them, because the suite's own come last.
backend_options = mysql_store.backend_options
connect_as_caller = mysql_store.connect_as_caller
made_namespace = mysql_store.made_namespace
namespace = mysql_store.namespace
residue = mysql_store.residue


@pytest.fixture
def backend_url(mysql_url: str) -> str:
    return f"{mysql_url}?returning=false"


def test_no_statement_needs_returning(backend: Backend) -> None:
    assert backend.health().details["returning"] is False
