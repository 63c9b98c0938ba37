"""The installed distributions in an empty environment: commands, entry points, and what gets imported when."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.packaging.environments import THIRD_PARTY, Environment

pytestmark = pytest.mark.timeout(600)  # whichever comes first builds and installs

DRIVERS = ("sqlalchemy", "redis", "hiredis", "psycopg", "pymysql", "sqlite3", "rich", "pytest", "asyncio")
OURS = {"redis", "rediss", "valkey", "valkeys", "redis+unix", "sqlite", "memory"}
OURS |= {"postgres", "postgresql", "postgresql+psycopg", "mysql", "mariadb"}

HELP_THEN_MODULES = """
import contextlib, io, sys
sys.argv = ["wg", "--help"]
from wg_core.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(*sys.modules)
"""


def modules_after(environment: Environment, code: str) -> set[str]:
    return set(environment.python(code).split())


def test_wg_tells_its_version(core_only: Environment) -> None:
    done = core_only.run("wg", "--version")
    version = core_only.python("import importlib.metadata as m; print(m.version('wg-core'))").strip()
    assert (done.returncode, done.stdout) == (0, f"wg {version}\n")


def test_the_core_alone_knows_the_memory_store(core_only: Environment) -> None:
    done = core_only.run("wg", "backends", "--json")
    assert done.returncode == 0, done.stderr
    assert "memory" in done.stdout
    assert "redis" not in core_only.python(
        "import importlib.metadata as m; print(*[e.name for e in m.entry_points(group='wg.backends')])"
    )


def test_a_missing_backend_names_the_line_that_installs_it(core_only: Environment) -> None:
    done = core_only.run("wg", "status", "--url", "sqlite:jobs.db")
    assert done.returncode == 2
    assert 'pip install "wg-core[sqlite]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_every_scheme_leads_to_its_backend(everything: Environment) -> None:
    found = everything.python(
        "import importlib.metadata as m\n"
        "from wg_core.backend import Backend\n"
        "print(*[e.name for e in m.entry_points(group='wg.backends') if issubclass(e.load(), Backend)])"
    )
    assert set(found.split()) == OURS | {"example"}


def test_importing_wg_core_imports_no_driver(everything: Environment) -> None:
    loaded = modules_after(everything, "import sys, wg_core; print(*sys.modules)")
    assert loaded.isdisjoint(DRIVERS)
    assert "click" not in loaded


def test_the_help_page_imports_no_driver(everything: Environment) -> None:
    assert modules_after(everything, HELP_THEN_MODULES).isdisjoint(DRIVERS)


@pytest.mark.parametrize(("url", "wanted", "others"), [
    ("memory:", "wg_core.memory", {"sqlalchemy", "redis", "sqlite3"}),
    ("redis://localhost:1/0", "wg_redis", {"sqlalchemy", "wg_core.memory"}),
    ("sqlite:jobs.db", "wg_sqlite", {"redis", "psycopg", "pymysql", "wg_core.memory"}),
    ("postgres://localhost:1/app", "wg_postgres", {"redis", "pymysql", "sqlite3", "wg_core.memory"}),
    ("mysql://localhost:1/app", "wg_mysql", {"redis", "psycopg", "sqlite3", "wg_core.memory"}),
    ("example:.", "wg_backend_example", {"redis", "sqlalchemy", "wg_core.memory"}),
])  # fmt: skip
def test_opening_a_url_imports_only_its_backend(
    everything: Environment, url: str, wanted: str, others: set[str]
) -> None:
    code = f"import sys\nfrom wg_core.registry import open_backend\nopen_backend({url!r}).close()\nprint(*sys.modules)"
    loaded = modules_after(everything, code)
    assert wanted in loaded
    assert loaded.isdisjoint(others)


def test_the_import_list_of_a_producer_stays_short(core_only: Environment) -> None:
    bare = modules_after(core_only, "import sys; print(*sys.modules)")
    loaded = modules_after(core_only, "import sys, wg_core; print(*sys.modules)")
    assert len(loaded - bare) < 130, sorted(loaded - bare)


def test_a_third_party_backend_passes_the_conformance_suite(everything: Environment, tmp_path: Path) -> None:
    shutil.copytree(THIRD_PARTY / "tests", tmp_path / "tests")
    pytest_line = ("python", "-m", "pytest", "-q", "-x", "--strict-markers", "-p", "no:cacheprovider", "tests")
    done = everything.run(*pytest_line, cwd=tmp_path, timeout_seconds=580.0)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
