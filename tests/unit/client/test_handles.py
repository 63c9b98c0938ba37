"""What a handle tells of its job."""

from __future__ import annotations

import pytest

from wg_core import Client, ConfigError, JobOptions, JobState, ResultNotKeptError
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat


def test_a_handle_says_what_was_sent(client: Client) -> None:
    handle = client.enqueue_named("send", options=JobOptions(id="a", queue="mail"))
    assert (handle.id, handle.name, handle.queue, handle.stored) == ("a", "send", "mail", True)
    assert repr(handle) == "<job a send [mail]>"


def test_a_handle_asks_the_store_where_the_job_stands(client: Client) -> None:
    handle = client.enqueue_named("send")
    store = client.backend
    assert handle.state == JobState.READY
    store.beat([WorkerBeat(worker="w", lease_seconds=30, first=True)])
    [reserved] = store.reserve(["default"], 1, "w", request_no=1)
    assert handle.state == JobState.RUNNING
    assert handle.record is not None
    assert handle.record.worker == "w"
    store.report("w", [Ack(id=handle.id, lease_no=reserved.lease_no)], request_no=1)
    assert handle.state is None
    assert handle.record is None


def test_a_waiting_job_is_cancelled_and_then_gone(client: Client) -> None:
    handle = client.enqueue_named("send")
    assert handle.cancel()
    assert handle.state is None
    assert not handle.cancel()


def test_a_running_job_is_told_that_it_is_cancelled(client: Client) -> None:
    handle = client.enqueue_named("send")
    client.backend.beat([WorkerBeat(worker="w", lease_seconds=30, first=True)])
    client.backend.reserve(["default"], 1, "w", request_no=1)
    assert handle.cancel()
    assert handle.record is not None
    assert (handle.record.state, handle.record.cancel_requested) == (JobState.RUNNING, True)


def test_a_client_finds_and_cancels_jobs_by_id(client: Client) -> None:
    handle = client.enqueue_named("send")
    assert client.get(handle.id) == handle.record
    assert client.cancel(handle.id)
    assert client.get(handle.id) is None
    assert not client.cancel(handle.id)
    with pytest.raises(ConfigError, match="a job id"):
        client.get("")


def test_a_result_that_is_not_kept_is_said_at_once(client: Client) -> None:
    handle = client.enqueue_named("send")
    with pytest.raises(ResultNotKeptError, match=f"job {handle.id} send was enqueued without result_ttl"):
        handle.result(timeout=3600)
