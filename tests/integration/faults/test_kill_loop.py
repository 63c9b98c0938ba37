"""Processes are killed again and again while jobs are enqueued; in the end every job is finished or dead."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import at_rest, audit, interrupted, is_charge
from trees import NAMESPACE, Log, Tree, producing, sized, wait_for
from wg_core import Client
from wg_core.backend import Backend

JOBS = sized(5_000, full=40_000)
KILLS_OF_EACH_KIND = sized(2, full=15)
INTERRUPTED = sized(8, full=60)
SHORT_LEASE = ("--lease", "8", "--heartbeat", "0.5", "--batch-size", "100")
"""To be waited for, but no shorter: a lease that a slow machine loses looks like a job run twice for no reason."""


class Killer:
    """Kills one thing after the other, in turn, and starts again what does not start by itself."""

    def __init__(self, start: Callable[[], Tree]) -> None:
        self._start = start
        self._random = random.Random(20)
        self._plan = itertools.cycle(("child", "supervisor", "child", "tree"))
        self._next = next(self._plan)
        self.trees = [start(), start()]
        self.killed: set[int] = set()
        self.counts = {"child": 0, "supervisor": 0, "tree": 0}

    def strike(self) -> None:
        """Kill a worker process, a supervisor alone, or a whole tree; only such as have work."""
        busy = {number: self._busy_children(tree) for number, tree in enumerate(self.trees)}
        if not any(busy.values()):
            return
        number = self._random.choice([number for number, children in busy.items() if children])
        tree = self.trees[number]
        if self._next == "child":
            self._kill(self._random.choice(busy[number]))
        elif self._next == "supervisor":
            self._kill(tree.pid)
        else:
            self.killed.update((tree.pid, *tree.signal_all(signal.SIGKILL)))
        if self._next != "child":
            tree.wait()
            self.trees[number] = self._start()
        self.counts[self._next] += 1
        self._next = next(self._plan)

    def _busy_children(self, tree: Tree) -> list[int]:
        """Return those that may be killed: one that was, and that its supervisor has not seen yet, may be gone."""
        return [pid for pid in tree.busy_children() if pid not in self.killed]

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed.add(pid)


@pytest.mark.timeout(480)
def test_no_job_is_lost_or_stranded_while_processes_are_killed_again_and_again(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    gate = tmp_path / "enough"
    killer = Killer(lambda: start_tree(store_url, *SHORT_LEASE))

    def enough() -> bool:
        return (
            len(log.enqueued()) >= JOBS
            and min(killer.counts.values()) >= KILLS_OF_EACH_KIND
            and interrupted(log, killer.killed) >= INTERRUPTED
        )

    with producing(log, store_url, NAMESPACE, count=10 * JOBS, batch=200, pause=0.2, gate=gate):
        while not enough():
            threading.Event().wait(0.3)
            killer.strike()
        gate.touch()
    wait_for(lambda: at_rest(backend), "all jobs settled", 240)

    facts = audit(log, backend, killer.killed)
    assert not facts.lost
    assert not facts.unmatched
    charges = [entry["id"] for entry in log.of("started") if is_charge(entry["id"])]
    assert len(charges) == len(set(charges)), "an at-most-once job started twice"


def test_a_killed_worker_process_gives_its_jobs_back_at_once_not_after_the_lease(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    import fault_jobs  # noqa: PLC0415 - reads the log's path from the environment at import

    gate = tmp_path / "gate"
    tree = start_tree(store_url, "--lease", "600", processes=1)
    Client(backend).enqueue_many(fault_jobs.hold.job(str(gate)) for _ in range(2))
    wait_for(lambda: len(log.of("started")) == 2, "two handlers that run until they are killed")
    with producing(log, store_url, NAMESPACE, count=1_000, batch=500, pause=0):
        wait_for(lambda: len(log.of("started")) > 10, "other work beside them")
        (victim,) = tree.busy_children()
        os.kill(victim, signal.SIGKILL)
        gate.touch()
    wait_for(lambda: at_rest(backend), "all jobs settled long before the lease is over", 180)

    facts = audit(log, backend, {victim})
    assert facts.interrupted >= 2, "the kill hit no running handler"
    assert not facts.lost
    assert not facts.unmatched
