"""Who may import whom, read from the source: so that a stranger can follow it, and a driver stays where it belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.environments import DISTRIBUTIONS, ROOT, THIRD_PARTY

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"history", "job", "outcome", "protocol", "envelope", "backoff"}),
    frozenset({"backend", "settings", "_lease"}),
    frozenset({"registry"}),
    frozenset({"client", "handlers", "options", "config"}),
    frozenset({"worker", "context"}),
    frozenset({"supervisor"}),
    frozenset({"cli"}),
)
"""From the bottom up; a module imports its own layer and those below. Helpers not named here have no layer."""

DRIVERS = {
    "sqlalchemy": ("wg_core.sql", "wg_sqlite", "wg_postgres", "wg_mysql"),
    "sqlite3": ("wg_sqlite",),
    "redis": ("wg_redis",),
    "psycopg": ("wg_postgres", "wg_core.testing.servers"),
    "pymysql": ("wg_mysql", "wg_core.testing.servers"),
}
"""Each with the modules that may import it, by how their names begin."""

Import = tuple[str, str, bool]
"""(importing module, what it imports, whether at the top of the module)"""


def modules(source: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(source.rglob("*.py")):
        dotted = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        yield dotted, ast.parse(path.read_text(encoding="utf-8"))


def imports(source: Path) -> Iterator[Import]:
    for module, tree in modules(source):
        for node in ast.walk(tree):
            at_top = node in tree.body
            if isinstance(node, ast.Import):
                yield from ((module, alias.name, at_top) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} uses a relative import"
                yield from ((module, f"{node.module}.{alias.name}", at_top) for alias in node.names)


def all_imports() -> Iterator[Import]:
    for name in DISTRIBUTIONS:
        yield from imports(ROOT / name / "src")


def layer_of(dotted: str) -> int | None:
    names = dotted.split(".")
    if names[0] != "wg_core" or len(names) == 1:
        return None
    return next((number for number, layer in enumerate(LAYERS) if names[1] in layer), None)


def test_core_imports_only_downwards() -> None:
    upwards = [
        f"{module} imports {target}"
        for module, target, at_top in imports(ROOT / "wg_core/src")
        if at_top and (mine := layer_of(module)) is not None and (its := layer_of(target)) is not None and its > mine
    ]
    assert not upwards


def test_the_layers_name_modules_that_exist() -> None:
    names = {path.stem for path in (ROOT / "wg_core/src/wg_core").iterdir()}
    assert frozenset().union(*LAYERS) <= names


def test_nothing_imports_the_test_kit() -> None:
    assert not [
        f"{module} imports {target}"
        for module, target, _ in all_imports()
        if target.startswith("wg_core.testing") and not module.startswith("wg_core.testing")
    ]


def test_core_never_imports_a_backend_distribution() -> None:
    assert not [
        f"{module} imports {target}"
        for module, target, _ in imports(ROOT / "wg_core/src")
        if target.split(".")[0] in {"wg_redis", "wg_sqlite", "wg_postgres", "wg_mysql"}
    ]


def test_backends_never_import_each_other() -> None:
    for name in DISTRIBUTIONS[1:]:
        others = {other for other in DISTRIBUTIONS[1:] if other != name}
        assert not [target for _, target, _ in imports(ROOT / name / "src") if target.split(".")[0] in others]


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_a_driver_is_imported_only_where_it_belongs(driver: str) -> None:
    strays = [
        module
        for module, target, _ in all_imports()
        if target.split(".")[0] == driver and not module.startswith(DRIVERS[driver])
    ]
    assert not strays


@pytest.mark.parametrize("source", [*(ROOT / name / "src" for name in DISTRIBUTIONS[1:]), THIRD_PARTY / "src"], ids=str)
def test_backends_use_only_what_third_parties_may_use(source: Path) -> None:
    private = [
        f"{module} imports {target}"
        for module, target, _ in imports(source)
        if target.startswith("wg_core.") and any(part.startswith("_") for part in target.split("."))
    ]
    assert not private


def test_rich_is_imported_only_when_a_terminal_needs_it() -> None:
    assert not [module for module, target, at_top in all_imports() if at_top and target.split(".")[0] == "rich"]


def test_only_the_command_line_imports_click() -> None:
    assert not [
        f"{module} imports {target}"
        for module, target, _ in all_imports()
        if (target.split(".")[0] == "click" or is_command_line(target)) and not is_command_line(module)
    ]


def is_command_line(dotted: str) -> bool:
    return dotted.split(".")[:2] == ["wg_core", "cli"]
