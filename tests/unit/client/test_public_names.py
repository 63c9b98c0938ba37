"""What `import wg_core` offers, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import wg_core

FOREIGN = {"click", "rich", "sqlalchemy", "redis", "sqlite3", "psycopg", "pymysql", "asyncio", "pytest"}
WORKER_SIDE = {
    "wg_core.worker",
    "wg_core.supervisor",
    "wg_core.context",
    "wg_core.memory",
    "wg_core.cli",
    "wg_core.sql",
}


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the statement."""
    code = f"import sys\n{statement}\nimport json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert wg_core.__all__ == sorted(wg_core.__all__)
    assert all(hasattr(wg_core, name) for name in wg_core.__all__)
    assert callable(wg_core.job), "the decorator, not the module of that name"


def test_importing_wg_loads_no_driver_and_no_worker() -> None:
    loaded = modules_after("import wg_core")
    assert not loaded & FOREIGN
    assert not loaded & WORKER_SIDE


def test_enqueueing_loads_only_the_backend_of_the_url() -> None:
    loaded = modules_after("import wg_core; wg_core.Client.connect('memory:').enqueue_named('x')")
    assert not loaded & (FOREIGN | WORKER_SIDE) - {"wg_core.memory"}


def test_the_decorator_stays_the_decorator_whatever_is_imported_first() -> None:
    assert "wg_core.job" in modules_after("import wg_core.job; from wg_core import job; assert callable(job)")


def test_the_side_of_the_worker_is_imported_when_it_is_asked_for() -> None:
    loaded = modules_after("from wg_core import CurrentJob, current_job, WorkerPool")
    assert {"wg_core.context", "wg_core.worker"} <= loaded


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'wg_core' has no attribute 'celery'"):
        _ = wg_core.celery
