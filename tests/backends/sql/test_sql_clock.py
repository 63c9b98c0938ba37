"""The clock of a server: what it tells between two readings, and who reads it."""

from __future__ import annotations

import time

import pytest

from tests.backends.sql.stores import Store, new_job, run_one
from wg_core.sql import PooledConnections, ServerClock, SqlBackend


def test_before_the_first_reading_it_is_this_machines_clock_and_due() -> None:
    clock = ServerClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now() <= time.time_ns() // 1_000_000
    assert clock.is_due


def test_after_a_reading_it_goes_on_from_what_the_server_said() -> None:
    clock = ServerClock()
    clock.read(lambda: 5_000)
    first, second = clock.now(), clock.now()
    assert 5_000 <= first <= second < 5_000 + 60_000
    assert not clock.is_due


def test_a_reading_that_fails_changes_nothing() -> None:
    clock = ServerClock()
    clock.read(lambda: 5_000)

    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        clock.read(fail)
    assert clock.now() < 5_000 + 60_000


def test_what_it_said_is_used_until_the_next_reading_although_that_is_due() -> None:
    clock = ServerClock(fresh_seconds=0.0)
    clock.read(lambda: 5_000)
    assert clock.is_due
    clock.forget()
    assert clock.now() < 5_000 + 60_000


@pytest.mark.parametrize("product", ["postgres", "mysql"], indirect=True)
def test_a_call_that_needs_the_time_before_it_has_a_connection_reads_a_clock_that_is_due(store: Store) -> None:
    backend = store.open()
    run_one(backend)
    assert isinstance(backend, SqlBackend)
    assert isinstance(backend._connections, PooledConnections)
    clock = backend._connections._clock
    clock.read(lambda: 0)
    clock.forget()
    backend.enqueue([new_job("b", id_is_new=True)])
    (record,) = backend.get(["b"])
    assert record.enqueued_at > 1_700_000_000_000
