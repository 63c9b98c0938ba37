"""The names that users import: listed, sorted, and changed only on purpose."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from tests.packaging.environments import DISTRIBUTIONS, ROOT
from wg_core.backend import Backend


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_all_is_sorted_and_every_name_exists(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, exported) for exported in package.__all__)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_nothing_public_is_left_out_of_all(name: str) -> None:
    tree = ast.parse((ROOT / name / "src" / name / "__init__.py").read_text(encoding="utf-8"))
    public = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(name)
        for alias in node.names
    }
    assert {found for found in public if not found.startswith("_")} <= set(importlib.import_module(name).__all__)


def test_every_backend_package_exports_its_backend() -> None:
    for name in DISTRIBUTIONS[1:]:
        package = importlib.import_module(name)
        assert any(
            inspect.isclass(found) and issubclass(found, Backend)
            for found in (getattr(package, exported) for exported in package.__all__)
        )
