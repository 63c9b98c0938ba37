"""What a call costs does not grow with the jobs that are there: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.backends.sqlite.support import OpenSQLite
from tests.backends.work import costs, fill
from wg_core.backend import Backend
from wg_core.protocol import COUNT_CAP

FEW, MANY = 1_000, 15_000
"""Jobs in each state. The larger number is beyond the cap of cheap counts, which may count that far."""

CAPPED = {"stats", "workers"}
SPREAD = 1.5
"""Deeper trees cost a little more."""


class Steps:
    """Counts the steps of every connection of a backend."""

    def __init__(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        self._steps = 0
        connections = backend._connections
        for name in ("_prepare_writer", "_prepare_reader"):
            original = getattr(connections, name)

            def prepare(connection: object, original: Callable[[object], None] = original) -> None:
                original(connection)
                connection.set_progress_handler(self._step, 1)  # type: ignore[attr-defined]

            monkeypatch.setattr(connections, name, prepare)

    def _step(self) -> None:
        self._steps += 1

    def of(self, call: Callable[[], object]) -> int:
        before = self._steps
        call()
        return self._steps - before


def test_no_call_costs_more_when_fifteen_times_as_many_jobs_are_there(
    open_sqlite: OpenSQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in (FEW, MANY):
        url = f"sqlite:{tmp_path / f'{number}.db'}"
        fill(open_sqlite(url), number)
        counted = open_sqlite(url)
        found.append(costs(counted, Steps(counted, monkeypatch).of))
    few, many = found
    assert min(few.values()) > 0, "every call was counted"
    grown = {name: (few[name], many[name]) for name in few if many[name] > SPREAD * few[name] + 100}
    assert grown.keys() <= CAPPED, grown
    assert many["stats"] < 10 * 5 * COUNT_CAP


def test_a_read_that_somebody_left_open_makes_no_call_costlier(
    open_sqlite: OpenSQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("quiet", "with-a-reader"):
        url = f"sqlite:{tmp_path / name}.db"
        fill(open_sqlite(url), FEW)
        counted = open_sqlite(url)
        with closing(sqlite3.connect(tmp_path / f"{name}.db", isolation_level=None)) as reader:
            if name == "with-a-reader":
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM wg_jobs").fetchall()
            found.append(costs(counted, Steps(counted, monkeypatch).of))
    assert found[0] == found[1]
