"""Letting things happen at the same moment, in threads and in processes, and looking at what is left of the jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from wg_core.backend import Backend
from wg_core.job import JobRecord, JobState
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import PATIENCE_SECONDS, exact, found_ids

Answer = TypeVar("Answer")

STORED_STATES = (JobState.SCHEDULED, JobState.READY, JobState.RUNNING, JobState.RETRY, JobState.DEAD)


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """Start every call in a thread of its own at the same moment; return their answers in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        barrier.wait(PATIENCE_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls), thread_name_prefix="racer") as threads:
        futures = [threads.submit(run, call) for call in calls]
        return [future.result(2 * PATIENCE_SECONDS) for future in futures]


def assert_each_in_one_place(
    backend: Backend, clock: Clock, ids: Sequence[str], *, deleted: int = 0
) -> dict[str, JobState]:
    """Assert that every job stands in one place or has ended, and that all counts say so; return who stands where.

    `ids` are all jobs that were ever stored in the namespace, `deleted` is how many of them were deleted or pruned.
    """
    records = {record.id: record for record in backend.get(ids)}
    stats = exact(backend, clock)
    for state in STORED_STATES:
        here = sorted(record.id for record in records.values() if record.state is state)
        assert sorted(found_ids(backend, state)) == here
        assert getattr(stats, state.value) == len(here), f"a job is {state} and something else"
    ended = sum(queue.done + queue.cancelled + queue.expired for queue in stats.queues.values())
    assert ended + deleted == len(ids) - len(records)
    _assert_none_is_stranded(backend, clock, records)
    return {job_id: record.state for job_id, record in records.items()}


def _assert_none_is_stranded(backend: Backend, clock: Clock, records: dict[str, JobRecord]) -> None:
    """Assert that every running job is held by a worker that the store knows, so that a rescue would find it."""
    held = Counter(record.worker for record in records.values() if record.state is JobState.RUNNING)
    known = {worker.id: worker.running for worker in backend.workers(now=clock.now) if worker.running}
    assert known == dict(held)


def in_processes(orders: Sequence[dict[str, Any]]) -> list[Any]:
    """Let a process of its own carry out each order at the same moment; return their answers in order.

    An order is what `_race_child` understands.
    """
    children = [_spawn(order) for order in orders]
    try:
        for child in children:
            _await_readiness(child)
        for child in children:
            _start(child)
        return [json.loads(child.communicate(timeout=2 * PATIENCE_SECONDS)[0]) for child in children]
    finally:
        for child in children:
            _kill(child)


def lines_of_killed(order: dict[str, Any], after_lines: int) -> list[Any]:
    """Let a process carry out an order until it said so many lines, kill it, and return all it had said."""
    child = _spawn(order)
    try:
        _await_readiness(child)
        _start(child)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(after_lines)]
        child.kill()
        said += child.stdout.readlines()
    finally:
        _kill(child)
    return [json.loads(line) for line in said if line.endswith("\n")]


def _spawn(order: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wg_core.testing._race_child", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _await_readiness(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", "the child did not come up"


def _start(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def _kill(child: subprocess.Popen[str]) -> None:
    with child:
        child.kill()
