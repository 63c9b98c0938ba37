"""What happens to a PostgreSQL in production: cut connections, a hasty restart, a failover, a pool in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from audit import at_rest, audit
from trees import NAMESPACE, Log, Tree, producing, sized, wait_for
from under_load import load
from wg_core.registry import open_backend
from wg_core.testing.servers import PgBouncerServer, PostgresServer

TERMINATE = "SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wg'"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.mark.timeout(400)
def test_all_connections_are_terminated_again_and_again(
    server: PostgresServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    terminated: Counter[str] = Counter()
    with load(server.url, log, start_tree, batch=100, pause=0.01) as running:
        while not (
            terminated.total() >= sized(60, full=400)
            and terminated.total() - terminated["idle"] >= 3
            and running.noticed() >= 3  # not each that was not idle was a worker's
        ):
            terminated.update(state for state, done in server.execute(TERMINATE) if done)
            running.await_progress()


@pytest.mark.timeout(400)
def test_the_server_shuts_down_immediately_and_comes_back(
    server: PostgresServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with load(server.url, log, start_tree) as running:
        for _ in range(sized(4, full=10)):
            before = running.noticed()
            server.stop_immediately()
            wait_for(lambda before=before: running.noticed() > before, "a worker that noticed")
            server.start()
            running.await_progress()
    recoveries = server.log_path.read_text().count("database system was not properly shut down")
    assert recoveries == sized(4, full=10), "a shutdown was too orderly"


@pytest.mark.timeout(400)
def test_a_standby_takes_over_and_workers_and_producers_go_on_through_the_second_host(
    server: PostgresServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with server.standby() as standby:
        standby.make_synchronous()
        with load(standby.failover_url, log, start_tree) as running:
            running.await_progress(500)
            before = running.noticed()
            acknowledged = log.enqueued()
            server.kill()
            wait_for(lambda: running.noticed() > before, "a worker that noticed")
            standby.promote()
            running.await_progress(500)
            wait_for(lambda: log.enqueued() - acknowledged, "producers going on by themselves")
            assert not server.running
            ((recovering,),) = standby.execute("SELECT pg_is_in_recovery()")
            assert not recovering


def test_a_worker_tree_drains_thousands_of_jobs_through_pgbouncer_in_transaction_mode(
    server: PostgresServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    jobs = sized(4_000, full=20_000)
    with PgBouncerServer(server, conf=["default_pool_size = 3"]) as bouncer:
        url = f"{bouncer.url}?prepared_statements=false&listen_url={server.url}"
        with open_backend(url, namespace=NAMESPACE) as backend:
            trees = [start_tree(url), start_tree(url)]
            with producing(log, url, NAMESPACE, count=jobs, batch=500, pause=0):
                wait_for(lambda: all(tree.busy_children() for tree in trees), "both trees at work")
                (pool,) = (pool for pool in bouncer.show("POOLS") if pool["database"] == "wg")
            wait_for(lambda: at_rest(backend), "all jobs settled", 180)
            facts = audit(log, backend, killed=())
    assert pool["cl_active"] + pool["cl_waiting"] > 3 >= pool["sv_active"] + pool["sv_idle"], f"nothing shared: {pool}"
    assert len(facts.enqueued) == jobs
    assert not facts.lost
    assert not facts.unmatched
    assert not facts.dead
