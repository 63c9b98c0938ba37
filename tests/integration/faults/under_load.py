"""A producer and a worker tree at work while something is done to their store, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audit import at_rest, audit, is_charge
from trees import NAMESPACE, Log, Tree, producing, wait_for
from wg_core.backend import Backend
from wg_core.errors import BackendError
from wg_core.registry import open_backend

MOST_JOBS = 10_000_000
"""More than any producer comes to before the fault is over."""


@dataclass(frozen=True)
class Load:
    """What is under way."""

    url: str
    log: Log
    tree: Tree
    backend: Backend

    def noticed(self) -> int:
        """Return how often a worker process has said that the store does not answer."""
        return len(self.said("the store does not answer"))

    def said(self, *words: str) -> list[str]:
        """Return the lines of the workers' log with any of the words in it."""
        lines = (self.tree.folder / "worker.log").read_text().splitlines()
        return [line for line in lines if any(word in line for word in words)]

    def await_progress(self, jobs: int = 1) -> None:
        """Return when that many more handlers have ended, and the store is back for all who had missed it.

        A worker says only once that it is away: one that does not know better yet would not notice the next outage.
        """
        wanted = len(self.log.of("ended")) + jobs
        wait_for(lambda: len(self.log.of("ended")) >= wanted, "workers going on by themselves")
        wait_for(lambda: len(self.said("the store is back")) == self.noticed(), "the store back for everybody")


@contextmanager
def load(
    url: str, log: Log, start_tree: Callable[..., Tree], *, batch: int = 50, pause: float = 0.05
) -> Iterator[Load]:
    """Run the block under load; afterwards nothing may be lost, and no worker may have ended for its store."""
    tree = start_tree(url, "--lease", "8", "--heartbeat", "1")
    gate = tree.folder / "enough"
    with open_backend(url, namespace=NAMESPACE) as backend:
        with producing(log, url, NAMESPACE, count=MOST_JOBS, batch=batch, pause=pause, gate=gate) as producer:
            wait_for(lambda: len(tree.busy_children()) == 2, "both processes at work")
            children = tree.children()
            running = Load(url, log, tree, backend)
            yield running
            assert producer.poll() is None, "the producer was done before the fault was over"
            gate.touch()
        wait_for(lambda: settled(backend), "all jobs settled", 180)
        facts = audit(log, backend, killed=())
    assert not facts.lost
    assert not running.said(" ERROR ")
    charges = [entry["id"] for entry in log.of("started") if is_charge(entry["id"])]
    assert len(charges) == len(set(charges)), "an at-most-once job started twice"
    assert tree.children() == children, "a worker was restarted because its store was away"


def settled(backend: Backend) -> bool:
    """Whether nothing waits, is scheduled, retries or runs; not as long as the store does not answer."""
    try:
        return at_rest(backend)
    except BackendError:
        return False
