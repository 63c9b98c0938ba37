"""What the toolkit does when transactions collide. Those of SQLite take turns, so here they are made to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from wg_core.errors import BackendUnavailableError
from wg_core.job import NewJob
from wg_core.outcome import Ack, Applied
from wg_core.protocol import WorkerBeat
from wg_core.sql import ConflictError, SqlBackend, Transaction, Window
from wg_core.sql.requests import LastRequest
from wg_sqlite import SQLiteBackend
from wg_sqlite.flavor import SQLiteFlavor
from wg_sqlite.options import SQLiteOptions


class CollidingFlavor(SQLiteFlavor):
    """Carries out its claims, and then loses so many of them to a transaction of somebody else."""

    collisions = 0

    def claim(self, tx: Transaction, parameters: Mapping[str, Any]) -> Window:
        window = super().claim(tx, parameters)
        if self.collisions:
            self.collisions -= 1
            raise ConflictError("deadlock found")
        return window


@pytest.fixture
def flavor(tmp_path: Path) -> CollidingFlavor:
    return CollidingFlavor(SQLiteOptions(path=str(tmp_path / "jobs.db")))


@pytest.fixture
def backend(tmp_path: Path, flavor: CollidingFlavor) -> Iterator[SqlBackend]:
    with SQLiteBackend.open(f"sqlite:{tmp_path / 'jobs.db'}", "wg") as backend:
        backend._store.flavor = flavor
        backend.beat([WorkerBeat(worker="w", lease_seconds=600.0, first=True)])
        backend.enqueue([NewJob(id="a", name="n", body=b"{}")])
        yield backend


def test_a_transaction_that_another_one_collided_with_is_run_again_as_a_whole(
    backend: SqlBackend, flavor: CollidingFlavor
) -> None:
    flavor.collisions = 3
    (job,) = backend.reserve(None, 5, "w", request_no=1)
    assert (job.id, job.attempt, job.lease_no) == ("a", 1, 1)
    assert backend.held("w") == [("a", 1)]


def test_collisions_that_go_on_are_told_and_nothing_has_happened(backend: SqlBackend, flavor: CollidingFlavor) -> None:
    flavor.collisions = 1_000
    with pytest.raises(BackendUnavailableError, match="deadlock found"):
        backend.reserve(None, 5, "w", request_no=1)
    assert backend.held("w") == []
    flavor.collisions = 0
    assert [job.attempt for job in backend.reserve(None, 5, "w", request_no=1)] == [1]


@pytest.mark.parametrize("seen", [None, 1, 3], ids=["none", "an earlier one", "a later one"])
def test_a_request_is_remembered_only_in_place_of_the_one_that_was_seen(backend: SqlBackend, seen: int | None) -> None:
    assert backend.report("w", [Ack(id="a", lease_no=1)], request_no=2) == [Applied.LOST]
    with pytest.raises(ConflictError):
        backend._store.write(lambda tx: LastRequest("w", "report", number=seen, answer=b"[]").remember(tx, 4, []))
    assert backend.report("w", [], request_no=3) == []
