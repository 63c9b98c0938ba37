"""The whole test suite of a backend: wg's conformance suite, pointed at this store."""

from pathlib import Path

import pytest

from wg_core.testing.contract import *  # noqa: F403


@pytest.fixture
def backend_url(tmp_path: Path) -> str:
    """Give each test a folder of its own."""
    return f"example:{tmp_path}"
