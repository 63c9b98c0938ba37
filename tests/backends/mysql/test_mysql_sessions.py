"""How connections are set up, and what that means for content: strictness, names, packet sizes, the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.backends.mysql.conftest import OpenMySQL
from wg_core.errors import BackendRejectedError
from wg_core.job import JobState, NewJob
from wg_core.protocol import JobFilter, WorkerBeat
from wg_core.testing.servers import MariaDBServer
from wg_mysql import MySQLBackend


def job(job_id: str, **fields: object) -> NewJob:
    return NewJob(**{"id": job_id, "name": "work", "body": b"{}", "id_is_new": True, **fields})  # type: ignore[arg-type]


def answer(backend: MySQLBackend, query: str) -> tuple[object, ...]:
    with backend._mysql.glancing() as cursor:
        cursor.execute(query, ())
        return tuple(cursor.fetchall()[0])


@pytest.fixture(scope="module")
def odd_server() -> Iterator[MariaDBServer]:
    """A server with settings that we must cope with, or warn of."""
    conf = ("max-allowed-packet = 1M", "default-time-zone = '+05:00'", "innodb-flush-log-at-trx-commit = 2")
    with MariaDBServer(conf=conf) as server:
        yield server


def test_a_session_is_strict_reads_what_is_committed_and_compares_every_character(backend: MySQLBackend) -> None:
    settings = answer(backend, "SELECT @@sql_mode, @@tx_isolation, @@collation_connection, @@innodb_lock_wait_timeout")
    assert settings == ("STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", "READ-COMMITTED", "utf8mb4_nopad_bin", 3)


def test_a_read_sees_one_state_of_the_store(backend: MySQLBackend, open_mysql: OpenMySQL, fresh_namespace: str) -> None:
    backend.enqueue([job("a")])
    with backend._mysql.reading() as cursor:
        open_mysql().enqueue([job("b")])
        cursor.execute(f"SELECT id FROM {fresh_namespace}_jobs", ())
        assert list(cursor.fetchall()) == [("a",)]


def test_tables_are_innodb_in_a_collation_that_counts_trailing_spaces(
    backend: MySQLBackend, mariadb_server: MariaDBServer, fresh_namespace: str
) -> None:
    backend.migrate()
    found = mariadb_server.execute(
        "SELECT DISTINCT engine, table_collation, row_format FROM information_schema.tables "
        f"WHERE table_schema = DATABASE() AND table_name LIKE '{fresh_namespace}%'"
    )
    assert found == [("InnoDB", "utf8mb4_nopad_bin", "Dynamic")]


def test_names_that_differ_in_case_accents_or_trailing_spaces_are_different(backend: MySQLBackend) -> None:
    queues = ["mail", "Mail", "máil", "mail ", " mail", "mail\t", "\uff4dail"]
    backend.enqueue([job(f"{number}", queue=queue) for number, queue in enumerate(queues)])
    assert set(backend.stats().queues) == set(queues)
    backend.beat([WorkerBeat(worker="w", lease_seconds=60.0, first=True)])
    backend.beat([WorkerBeat(worker="W", lease_seconds=60.0, first=True)])
    assert [found.id for found in backend.reserve(["mail "], 10, "w", request_no=1)] == ["3"]
    assert len(backend.workers()) == 2


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "in a batch"])
@pytest.mark.parametrize("wrong", [{"name": "n" * 201}, {"queue": "q" * 201}, {"id": "i" * 65}, {"priority": 40_000}])
def test_what_does_not_fit_is_refused_and_not_cut(backend: MySQLBackend, others: int, wrong: dict[str, object]) -> None:
    backend.enqueue([job("first")])
    batch = [*(job(f"other-{number}") for number in range(others)), job(**{"job_id": "x", **wrong})]  # type: ignore[arg-type]
    with pytest.raises(BackendRejectedError, match=r"too long|truncated|Out of range"):
        backend.enqueue(batch)
    assert [found.id for found in backend.find(JobFilter(state=JobState.READY)).jobs] == ["first"]


def test_a_batch_is_sent_in_statements_below_the_packet_size(open_mysql: OpenMySQL, odd_server: MariaDBServer) -> None:
    backend = open_mysql(odd_server.url)
    jobs = [job(f"{number}", body=bytes([number % 256]) * 10_000) for number in range(300)]
    assert all(result.stored for result in backend.enqueue(jobs))
    assert backend.get(["299"])[0].body == jobs[299].body
    assert backend.stats().ready == 300


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "in a batch"])
def test_a_job_that_is_longer_than_a_packet_is_refused_with_the_name_of_the_setting(
    open_mysql: OpenMySQL, odd_server: MariaDBServer, others: int
) -> None:
    backend = open_mysql(odd_server.url)
    backend.enqueue([job("first")])
    batch = [*(job(f"other-{number}") for number in range(others)), job("big", body=b"x" * 600_000)]
    with pytest.raises(BackendRejectedError, match=r"1,20\d,\d+ bytes .* max_allowed_packet of 1,048,576"):
        backend.enqueue(batch)
    assert [found.id for found in backend.find(JobFilter(state=JobState.READY)).jobs] == ["first"]
    assert backend.enqueue([job("next")])[0].stored


def test_the_clock_is_the_servers_whatever_its_time_zone(open_mysql: OpenMySQL, odd_server: MariaDBServer) -> None:
    backend = open_mysql(odd_server.url)
    backend.enqueue([job("a")])
    assert abs(backend.get(["a"])[0].enqueued_at / 1000 - time.time()) < 60
    assert abs(backend._mysql._mysql_flavor.now() / 1000 - time.time()) < 60


def test_health_names_the_server_and_what_puts_jobs_at_risk(open_mysql: OpenMySQL, odd_server: MariaDBServer) -> None:
    sound, risky = open_mysql().health(), open_mysql(odd_server.url).health()
    assert sound.server.startswith("MariaDB 1")
    assert (sound.warnings, sound.details["conflicts"], sound.details["database"]) == ((), 0, "wg")
    (warning,) = risky.warnings
    assert "innodb_flush_log_at_trx_commit=2" in warning
