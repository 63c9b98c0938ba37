"""Behind PgBouncer in transaction mode, where every transaction may be on another session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from tests.backends.postgres.support import PATIENCE_SECONDS, OpenPostgres, ack, new_job, new_jobs, register, wait_until
from wg_core import Client
from wg_core.errors import BackendRejectedError
from wg_core.job import JobState
from wg_core.outcome import Applied, Release
from wg_core.protocol import JobFilter
from wg_core.testing.servers import PgBouncerServer, PostgresServer


@pytest.fixture(scope="module")
def bouncer_url(postgres_server: PostgresServer) -> Iterator[str]:
    with PgBouncerServer(postgres_server) as bouncer:
        yield bouncer.url


def test_jobs_live_a_full_life(open_postgres: OpenPostgres, bouncer_url: str) -> None:
    backend = open_postgres(bouncer_url, prepared_statements=False)
    backend.enqueue([new_job("a")])
    register(backend)
    for number in range(10):  # more often than a statement that is prepared could be run
        backend.enqueue(new_jobs(f"b{number}"))
        backend.enqueue(new_jobs(f"c{number}", f"d{number}", delay_seconds=60 * (number % 2)))
    with ThreadPoolExecutor(6) as threads:
        assert len(set(map(str, threads.map(lambda _: backend.held("w1"), range(30))))) == 1
    jobs = backend.reserve(None, 100, "w1", request_no=1)
    assert len(jobs) == 21
    backend.report("w1", [Release(id=job.id, lease_no=job.lease_no) for job in jobs[:2]], request_no=1)
    assert backend.report("w1", [ack(job) for job in jobs], request_no=2) == [Applied.LOST] * 2 + [Applied.APPLIED] * 19
    assert [job.id for job in backend.reserve(["default"], 100, "w1", request_no=2)] == ["a", "b0"]


@pytest.mark.parametrize("listens", [False, True], ids=["polling", "direct URL to listen"])
def test_a_waiting_worker_finds_the_job(
    open_postgres: OpenPostgres, bouncer_url: str, postgres_url: str, *, listens: bool
) -> None:
    direct = {"listen_url": postgres_url, "poll_interval": PATIENCE_SECONDS} if listens else {}
    waiter = open_postgres(bouncer_url, prepared_statements=False, **direct)
    producer = open_postgres(bouncer_url, prepared_statements=False)
    waiter.migrate()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(waiter.wait, ["default"], 10 * PATIENCE_SECONDS)
        producer.enqueue([new_job("a")])
        waiting.result(PATIENCE_SECONDS)


@pytest.mark.parametrize("terminated", [True, False], ids=["its connection", "the server"])
def test_what_is_lost_behind_it_is_no_refusal(
    open_postgres: OpenPostgres, own_server: PostgresServer, *, terminated: bool
) -> None:
    with PgBouncerServer(own_server, conf=["server_login_retry = 1"]) as bouncer:
        backend = open_postgres(bouncer.url, prepared_statements=False)
        client = Client(backend, enqueue_timeout=PATIENCE_SECONDS)
        client.enqueue_named("before")
        tables = f"{backend._statements.tables.namespace}_jobs"
        with closing(psycopg.connect(own_server.url)) as blocker, ThreadPoolExecutor(1) as threads:
            blocker.execute(f"LOCK TABLE {tables} IN SHARE MODE")
            handle = threads.submit(client.enqueue_named, "during")
            of_insert = f"FROM pg_locks WHERE NOT granted AND relation = '{tables}'::regclass"
            wait_until(lambda: bool(own_server.execute(f"SELECT 1 {of_insert}")))
            if terminated:
                own_server.execute(f"SELECT pg_terminate_backend(pid) {of_insert}")
                blocker.rollback()
            else:
                own_server.kill()
                own_server.start()
            assert handle.result(PATIENCE_SECONDS).stored
        assert sorted(job.name for job in backend.find(JobFilter(state=JobState.READY)).jobs) == ["before", "during"]


def test_a_database_that_it_does_not_know_is_a_refusal(open_postgres: OpenPostgres, bouncer_url: str) -> None:
    with pytest.raises(BackendRejectedError, match=r"no such database|does not exist"):
        open_postgres(bouncer_url.replace("/wg", "/nowhere"), prepared_statements=False).held("w")


def test_without_the_option_the_error_names_it(open_postgres: OpenPostgres, bouncer_url: str) -> None:
    with pytest.raises(BackendRejectedError, match="prepared_statements=false"):
        open_postgres(bouncer_url).enqueue([new_job("a")])
