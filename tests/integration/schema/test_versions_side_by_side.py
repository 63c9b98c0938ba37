"""The wheels of the first release and this tree on one database at once, the schema one additive step apart."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.backends.sql.stores import LATEST, PATIENCE_SECONDS, SQLiteStore, wait_until
from tests.packaging.environments import ROOT, build
from wg_core.protocol import StatsLevel

pytestmark = pytest.mark.timeout(400)  # with the time to build the wheels
FIRST_VERSION = "879b8908e2d835084f61a8b44c55d46f561c8d9e"
"""The commit whose schema has version 1: the last one before PostgreSQL and MySQL."""
SIDE = Path(__file__).with_name("side.py")
COUNT = 150


@pytest.fixture(scope="module")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the first version, unpacked."""
    folder = tmp_path_factory.mktemp("first")
    archive = subprocess.run(
        ["git", "archive", FIRST_VERSION, "wg_core", "wg_sqlite"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        said = archive.stderr.decode().strip()
        if has_no_history():
            pytest.skip(
                f"the version before is built from the history, which is not here: git fetch --unshallow ({said})"
            )
        pytest.fail(f"commit {FIRST_VERSION[:7]} is needed to build the version before ({said})")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as sources:
        sources.extractall(folder / "sources", filter="data")
    for name in ("wg_core", "wg_sqlite"):
        with zipfile.ZipFile(build(folder / "sources" / name, folder / "wheels" / name)) as wheel:
            wheel.extractall(folder / "installed")
    return folder / "installed"


def has_no_history() -> bool:
    """Whether this is an unpacked archive of the sources, or a shallow clone."""
    asked = ["git", "rev-parse", "--is-shallow-repository"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.returncode != 0 or answer.stdout.strip() == "true"


class Side:
    """One process, with what it says collected."""

    def __init__(self, path: Path | None, *arguments: object) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WG_"))}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        self._process = subprocess.Popen(
            [sys.executable, str(SIDE), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.schema_version = int(self.hear().removeprefix("schema "))

    def hear(self) -> str:
        """Return the next line; an empty one when the process has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def lines(self) -> Iterator[str]:
        """Return line after line until the process ends; it must end well and in silence."""
        while line := self.hear():
            yield line
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        unexpected = [line for line in errors.splitlines() if "has a rare bug that can damage a file" not in line]
        assert (self._process.returncode, unexpected) == (0, [])

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> list[str]:
        """Let a worker stop; return all that it said since."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None
        return list(self.lines())


Start = Callable[..., Side]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Side] = []

    def start(path: Path | None, *arguments: object) -> Side:
        started.append(Side(path, *arguments))
        return started[-1]

    yield start
    for side in started:
        side.end()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "jobs.db")
    yield store
    store.close()


def url_of(store: SQLiteStore) -> str:
    return f"{store.url}?busy_timeout=60"


def hear_all(worker: Side, numbers: range) -> None:
    """Wait until the worker ran all of these jobs, each once."""
    ran = [worker.hear() for _ in numbers]
    assert sorted(ran) == sorted(f"ran {number}" for number in numbers)


def assert_all_is_done(store: SQLiteStore, jobs: int) -> None:
    stats = store.open().stats(StatsLevel.EXACT)
    assert (stats.ready, stats.running, stats.retry, stats.dead) == (0, 0, 0, 0)
    assert (stats.queues["default"].done, stats.queues["default"].failed) == (jobs, 0)


def test_an_old_worker_runs_on_while_a_new_producer_upgrades_its_database(
    store: SQLiteStore, first_version: Path, start: Start
) -> None:
    url = url_of(store)
    worker = start(first_version, "work", url)
    assert (worker.schema_version, worker.hear()) == (1, "works")
    before = start(first_version, "produce", url, 0, COUNT)
    assert list(before.lines()) == [f"stored {number}" for number in range(COUNT)]
    assert (before.schema_version, store.meta()["schema_version"]) == (1, "1")
    hear_all(worker, range(COUNT))
    old, new = start(first_version, "produce", url, COUNT, COUNT), start(None, "produce", url, 2 * COUNT, COUNT)
    assert (old.schema_version, new.schema_version) == (1, LATEST)
    assert len([*old.lines(), *new.lines()]) == 2 * COUNT
    hear_all(worker, range(COUNT, 3 * COUNT))
    assert worker.stop() == []
    assert store.meta()["schema_version"] == str(LATEST)
    assert_all_is_done(store, 3 * COUNT)


def test_a_new_worker_upgrades_the_database_while_an_old_producer_writes(
    store: SQLiteStore, first_version: Path, start: Start
) -> None:
    url = url_of(store)
    old = start(first_version, "produce", url, 0, COUNT)
    assert (old.schema_version, old.hear(), store.meta()["schema_version"]) == (1, "stored 0", "1")
    new = start(None, "work", url)
    assert (new.schema_version, new.hear()) == (LATEST, "works")
    later = start(first_version, "produce", url, COUNT, COUNT)
    assert len([*old.lines(), *later.lines()]) == 2 * COUNT - 1
    hear_all(new, range(2 * COUNT))
    old_worker = start(first_version, "work", url)
    assert old_worker.hear() == "works"
    assert (new.stop(), old_worker.stop()) == ([], [])
    assert store.meta()["schema_version"] == str(LATEST)
    assert len(store.meta()["store_id"]) == 32
    assert_all_is_done(store, 2 * COUNT)


def test_an_old_and_a_new_worker_share_the_jobs(store: SQLiteStore, first_version: Path, start: Start) -> None:
    url = url_of(store)
    workers = [start(first_version, "work", url), start(None, "work", url)]
    assert [worker.hear() for worker in workers] == ["works", "works"]
    producers = [start(first_version, "produce", url, 0, COUNT), start(None, "produce", url, COUNT, COUNT)]
    assert len([line for producer in producers for line in producer.lines()]) == 2 * COUNT
    backend = store.open(url=url)
    wait_until(lambda: not (backend.stats().ready or backend.stats().running))
    ran = [line for worker in workers for line in worker.stop()]
    assert sorted(ran) == sorted(f"ran {number}" for number in range(2 * COUNT))
    assert_all_is_done(store, 2 * COUNT)
