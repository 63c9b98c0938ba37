"""Many connections of several processes that reserve and report at once from one queue."""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks.measure import Figure
from benchmarks.side import Side

CONNECTIONS = (1, 4, 16, 32)
PROCESSES = 4
ROUNDS = 3
NAMESPACE = "benchmany"
_SPAWN = multiprocessing.get_context("spawn")
_LONGEST_SECONDS = 300.0


def contention_figures(store: str, url: str, jobs: int) -> list[Figure]:
    """Return the rate for each number of connections, against one connection; RuntimeError when a job ran twice."""
    rates: dict[int, list[float]] = {number: [] for number in CONNECTIONS}
    for _ in range(ROUNDS):
        for number in CONNECTIONS:
            rates[number].append(_round(url, number, jobs))
    alone = statistics.median(rates[1])
    return [
        Figure(
            store=store,
            what=f"reserve + report, {number} connection{'s' * (number > 1)}",
            unit="/s",
            wg=statistics.median(rates[number]),
            raw=alone,
            goal="no job twice: checked" if number > 1 else "",
            spread=max(rates[number]) / min(rates[number]),
            against="one connection",
        )
        for number in CONNECTIONS
    ]


def _round(url: str, connections: int, jobs: int) -> float:
    """Let so many connections, of up to four processes, empty the queue; return jobs a second."""
    side = Side(url, NAMESPACE)
    side.empty()
    side.fill(jobs)
    side.close()
    processes = min(PROCESSES, connections)
    barrier = _SPAWN.Barrier(connections)
    answers = _SPAWN.SimpleQueue()
    started = [
        _SPAWN.Process(target=_work, args=(url, connections // processes, barrier, answers)) for _ in range(processes)
    ]
    for process in started:
        process.start()
    shares = [answers.get() for _ in started]  # read before join: a child ends only when its answer was taken
    for process in started:
        process.join(_LONGEST_SECONDS)
    if failures := [share for share in shares if isinstance(share, str)]:
        raise RuntimeError(f"a process with {connections // processes} connections failed: {failures[0]}")
    _check_each_once([job_id for *_, ids in shares for job_id in ids], jobs)
    seconds: float = max(end for _, end, _ in shares) - min(begin for begin, _, _ in shares)
    return jobs / seconds


def _check_each_once(ids: Sequence[str], jobs: int) -> None:
    for one, other in pairwise(sorted(ids)):
        if one == other:
            raise RuntimeError(f"job {one} was held by two connections")
    if len(ids) != jobs:
        raise RuntimeError(f"{jobs} jobs were waiting, {len(ids)} were reserved and reported")


def _work(url: str, connections: int, barrier: Barrier, answers: Any) -> None:
    """Answer (begin, end, ids) by the clock that all processes share, or what went wrong."""
    try:
        with ThreadPoolExecutor(connections) as threads:
            shares = [share.result() for share in [threads.submit(_drain, url, barrier) for _ in range(connections)]]
        ids = [job_id for *_, some in shares for job_id in some]
        answers.put((min(begin for begin, _, _ in shares), max(end for _, end, _ in shares), ids))
    except Exception as error:  # noqa: BLE001 - it is told by the parent
        barrier.abort()
        answers.put(repr(error))


def _drain(url: str, barrier: Barrier) -> tuple[float, float, list[str]]:
    side = Side(url, NAMESPACE)  # a backend, and so a connection, of its own
    try:
        side.backend.health()
        barrier.wait(_LONGEST_SECONDS)
        begin = time.perf_counter()
        ids = side.cycle(2**62)
        return begin, time.perf_counter(), ids
    except threading.BrokenBarrierError:
        raise RuntimeError("another process failed before the start") from None
    finally:
        side.close()
