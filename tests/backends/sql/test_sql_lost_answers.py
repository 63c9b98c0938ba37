"""Enqueues whose answer is lost: sent again under the same ids, by which a store knows them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.backends.sql.stores import PATIENCE_SECONDS, Store
from wg_core import Client, Job, JobOptions
from wg_core.job import JobState
from wg_core.protocol import JobFilter
from wg_core.testing.faults import FaultyBackend


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("delay", [timedelta(0), timedelta(minutes=1)], ids=["now", "later"])
def test_jobs_whose_answers_were_lost_are_stored_once(store: Store, size: int, delay: timedelta) -> None:
    backend = FaultyBackend(store.open())
    client = Client(backend, enqueue_timeout=PATIENCE_SECONDS)
    first = client.enqueue(Job("work", b"{}", JobOptions()))
    backend.lose_answer("enqueue", times=2)
    handles = client.enqueue_many([Job("work", b"{}", JobOptions(delay=delay))] * size)
    assert backend.calls["enqueue"] == 4
    assert all(handle.stored for handle in handles)
    found = [job.id for state in JobState for job in backend.find(JobFilter(state=state)).jobs]
    assert sorted(found) == sorted(handle.id for handle in [first, *handles])
