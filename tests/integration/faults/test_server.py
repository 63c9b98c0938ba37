"""The store itself dies, or stops answering, under load: nothing is lost and the workers go on without a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit import at_rest, audit, is_charge
from trees import NAMESPACE, Log, Tree, producing, wait_for
from wg_core.backend import Backend
from wg_core.errors import BackendError
from wg_core.registry import open_backend
from wg_core.testing.servers import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def store_url(server: RedisServer) -> str:
    return server.url


def settled(backend: Backend) -> bool:
    try:
        return at_rest(backend)
    except BackendError:
        return False


def run_under_load(
    server: RedisServer, log: Log, start_tree: Callable[..., Tree], strike: Callable[[], None], jobs: int
) -> None:
    tree = start_tree(server.url, "--lease", "5", "--heartbeat", "1")
    with (
        open_backend(server.url, namespace=NAMESPACE) as backend,
        producing(log, server.url, NAMESPACE, count=jobs, batch=50, pause=0.05),
    ):
        children = set(wait_for(lambda: len(tree.busy_children()) == 2 and tree.children(), "both processes at work"))
        strike()
        wait_for(lambda: len(log.enqueued() | log.uncertain()) == jobs, "the producer done", 120)
        wait_for(lambda: settled(backend), "all jobs settled", 120)
        facts = audit(log, backend, killed=())
    assert len(facts.enqueued | log.uncertain()) == jobs
    assert not facts.lost
    charges = [entry["id"] for entry in log.of("started") if is_charge(entry["id"])]
    assert len(charges) == len(set(charges)), "an at-most-once job started twice"
    assert set(tree.children()) == children, "a worker was restarted because its store was away"


@pytest.mark.timeout(240)
def test_redis_is_killed_and_restarted_under_load(
    server: RedisServer, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    def noticed() -> int:
        return (tmp_path / "worker.log").read_text().count("the store does not answer")

    def strike() -> None:
        for _ in range(8):
            before = noticed()
            server.kill()
            wait_for(lambda before=before: noticed() > before, "a worker that noticed")
            server.restart()
            before = len(log.of("ended"))
            wait_for(lambda before=before: len(log.of("ended")) > before, "workers going on by themselves")

    run_under_load(server, log, start_tree, strike, jobs=6_000)


@pytest.mark.timeout(240)
def test_redis_stops_answering_for_ten_seconds_under_load(
    server: RedisServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    def strike() -> None:
        server.pause()
        try:
            threading.Event().wait(10)  # the length of the pause is the fault itself
        finally:
            server.resume()
        before = len(log.of("ended"))
        wait_for(lambda: len(log.of("ended")) > before, "workers going on by themselves")

    run_under_load(server, log, start_tree, strike, jobs=4_000)
