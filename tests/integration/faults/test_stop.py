"""SIGTERM under load, and handlers that do not move."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from audit import at_rest, audit
from trees import NAMESPACE, Log, Tree, producing, wait_for
from wg_core import Client
from wg_core.backend import Backend
from wg_core.job import JobRecord, JobState
from wg_core.protocol import JobFilter


def test_sigterm_under_load_leaves_nothing_running_and_no_attempt_used_up(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with producing(log, store_url, NAMESPACE, count=30_000, batch=1_000, pause=0):
        pass
    first = stop_under_load(start_tree(store_url), backend)
    while max(record.lease_no for record in first) == 0:  # none was prefetched: the buffers ran dry in that moment
        first = stop_under_load(start_tree(store_url), backend)
    assert not audit(log, backend, killed=()).unmatched


def stop_under_load(tree: Tree, backend: Backend) -> Sequence[JobRecord]:
    """Stop workers in the middle of their work; return the first jobs of those that are left."""
    wait_for(lambda: len(tree.busy_children()) == 2, "both processes at work")
    tree.process.send_signal(signal.SIGTERM)
    assert tree.wait() == 0

    stats = backend.stats()
    assert stats.ready > 0, "everything was done before the stop hit"
    assert stats.running == 0
    first = backend.find(JobFilter(state=JobState.READY), limit=200).jobs
    assert {record.attempt for record in first} == {0}
    return first


def test_a_handler_that_outlives_the_shutdown_timeout_is_given_back_without_using_an_attempt(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    import fault_jobs  # noqa: PLC0415 - reads the log's path from the environment at import

    tree = start_tree(store_url, "--shutdown-timeout", "1", processes=1)
    handle = Client(backend).enqueue(fault_jobs.hold.job(str(tmp_path / "never")))
    wait_for(lambda: log.of("started"), "the handler running")
    tree.process.send_signal(signal.SIGTERM)
    assert tree.wait(60) == 1
    (record,) = backend.get([handle.id])
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)


def test_a_stuck_handler_is_ended_by_replacing_its_process_after_its_siblings_finished(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    import fault_jobs  # noqa: PLC0415 - reads the log's path from the environment at import

    tree = start_tree(store_url, processes=1, threads=2)
    client = Client(backend)
    gate = tmp_path / "gate"
    sibling = client.enqueue(fault_jobs.hold.job(str(gate)))
    wait_for(lambda: log.of("started"), "the sibling running")
    old = tree.children()
    stuck = client.enqueue(fault_jobs.stuck.job())
    wait_for(lambda: set(tree.children()) - set(old), "a replacement process")
    assert backend.get([stuck.id])[0].state is JobState.RUNNING, "given away while its thread may still move"
    gate.touch()
    wait_for(lambda: not set(tree.children()) & set(old), "the old process gone")
    wait_for(lambda: at_rest(backend), "the sibling acknowledged and the stuck job given up")

    assert [entry["id"] for entry in log.of("ended")] == [sibling.id]
    assert [entry["id"] for entry in log.of("started")].count(sibling.id) == 1
    (record,) = backend.get([stuck.id])
    assert "replaced" in (record.history[-1].error_message or "")
