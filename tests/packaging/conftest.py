"""The built wheels, and two environments with them: one after `pip install wg-core`, one with everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environments import DISTRIBUTIONS, ROOT, THIRD_PARTY, Environment, build, create_environment

collect_ignore = ["thirdparty"]  # its tests run where it is installed


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, built from its sdist, by import name."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [*(ROOT / name for name in DISTRIBUTIONS), THIRD_PARTY]
    return {source.name: build(source, folder / source.name) for source in sources}


@pytest.fixture(scope="session")
def core_only(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment after `pip install wg-core`."""
    return create_environment(tmp_path_factory.mktemp("core") / "venv", [wheels["wg_core"]], ())


@pytest.fixture(scope="session")
def everything(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with all our distributions, the third party's, and the test kit."""
    folder = tmp_path_factory.mktemp("everything") / "venv"
    return create_environment(folder, list(wheels.values()), ("testing", "sql", "test"))
