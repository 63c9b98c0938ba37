"""Beats beside a process that stopped in the middle of a transaction."""

from __future__ import annotations

import pytest

from tests.backends.sql.stores import Store
from wg_core.protocol import WorkerBeat
from wg_core.sql import SqlBackend

LOCK_SECONDS = 1


@pytest.mark.parametrize("product", ["postgres", "mysql"], indirect=True)
def test_a_worker_that_keeps_its_own_row_locked_costs_its_siblings_no_beat(store: Store) -> None:
    frozen, supervisor = store.open(), store.open(lock_timeout=LOCK_SECONDS)
    assert isinstance(frozen, SqlBackend)
    workers = ("a", "frozen", "z")
    supervisor.beat([WorkerBeat(worker=worker, lease_seconds=100.0, first=True) for worker in workers], now=0)
    with frozen._connections.writing() as cursor:
        tx = frozen._store.transaction(cursor, None)
        tx.rows(tx.statements.lock_worker, worker="frozen")
        answer = supervisor.beat([WorkerBeat(worker=worker, lease_seconds=100.0) for worker in workers], now=50_000)
        assert not any(news.lease_lost for news in answer.news.values())
        assert supervisor.health().details["conflicts"] == 1, "it waited once"
    leases = {worker.id: worker.lease_until for worker in supervisor.workers()}
    assert leases == {"a": 150_000, "frozen": 100_000, "z": 150_000}


@pytest.mark.parametrize("product", ["postgres", "mysql"], indirect=True)
def test_a_worker_that_is_gone_is_told_so_beside_one_that_is_locked(store: Store) -> None:
    frozen, supervisor = store.open(), store.open(lock_timeout=LOCK_SECONDS)
    assert isinstance(frozen, SqlBackend)
    supervisor.beat([WorkerBeat(worker="frozen", lease_seconds=100.0, first=True)], now=0)
    with frozen._connections.writing() as cursor:
        tx = frozen._store.transaction(cursor, None)
        tx.rows(tx.statements.lock_worker, worker="frozen")
        beats = [WorkerBeat(worker=worker, lease_seconds=100.0) for worker in ("frozen", "forgotten")]
        answer = supervisor.beat(beats, now=50_000)
    assert answer.news["forgotten"].lease_lost
    assert not answer.news["frozen"].lease_lost


@pytest.mark.parametrize("product", ["postgres"], indirect=True)
def test_beats_go_on_beside_a_worker_that_stopped_in_the_middle_of_a_report(store: Store) -> None:
    frozen, supervisor = store.open(), store.open(lock_timeout=LOCK_SECONDS)
    assert isinstance(frozen, SqlBackend)
    supervisor.beat([WorkerBeat(worker="frozen", lease_seconds=100.0, first=True)], now=0)
    with frozen._connections.writing() as cursor:
        tx = frozen._store.transaction(cursor, None)
        tx.rows(tx.statements.lease, worker="frozen", operation="report")
        supervisor.beat([WorkerBeat(worker="frozen", lease_seconds=100.0)], now=50_000)
        assert supervisor.health().details["conflicts"] == 0
        assert [worker.lease_until for worker in supervisor.workers()] == [150_000]
        assert supervisor.rescue(10, now=10**9) == []
        assert [worker.id for worker in supervisor.workers()] == ["frozen"], "no rescue gives it up meanwhile"
