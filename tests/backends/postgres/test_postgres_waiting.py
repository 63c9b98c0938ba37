"""LISTEN and NOTIFY: who is notified and when, and that waiting never depends on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.backends.postgres.support import (
    PATIENCE_SECONDS,
    OpenPostgres,
    ack,
    locks,
    new_job,
    new_jobs,
    register,
    wait_until,
)
from wg_core.errors import BackendUnavailableError
from wg_core.outcome import Release
from wg_postgres import PostgresBackend, listening
from wg_postgres.waking import Signal

TOO_LONG_SECONDS = 1_000.0
"""No test waits for so long: a wait that nobody ends makes the test fail by its time limit."""
NEVER_LOOKS = 60.0
"""A poll interval at which only a notification ends a wait in time."""


class Ear:
    """A connection that listens as waiters do, but holds no locks."""

    def __init__(self, url: str, namespace: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(f"LISTEN {Signal(namespace).channel}")

    def heard(self) -> list[str]:
        self._connection.execute("SELECT 1")
        return [notification.payload for notification in self._connection.notifies(timeout=0)]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(autouse=True)
def answers_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a slow server would be left by whoever listens, and nobody be notified for a moment."""
    monkeypatch.setattr(listening, "_ANSWER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def ear(postgres_url: str, fresh_namespace: str) -> Iterator[Ear]:
    with closing(Ear(postgres_url, fresh_namespace)) as opened:
        yield opened


@pytest.fixture
def quiet(open_postgres: OpenPostgres, connection: psycopg.Connection[Any]) -> PostgresBackend:
    """A backend that knows its queue and looks for itself so rarely that only a notification wakes it."""
    backend = open_postgres(poll_interval=NEVER_LOOKS)
    backend.enqueue([new_job("first")])
    register(backend)
    backend.report("w1", [ack(job) for job in backend.reserve(None, 10, "w1", request_no=1)], request_no=1)
    return backend


def listening_pids(connection: psycopg.Connection[Any], backend: PostgresBackend) -> list[int]:
    space = Signal(backend._statements.tables.namespace).space % 2**32
    query = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND mode = 'ShareLock'"
    return [pid for (pid,) in connection.execute(query, (space,))]


def start_waiting(
    backend: PostgresBackend, connection: psycopg.Connection[Any], queues: list[str] | None, expected_locks: int = 1
) -> Future[None]:
    """Let a thread wait, and return when producers can see it and it looks no more."""
    others = number_of_waits(backend)
    if not others:
        wait_until(lambda: locks(connection, backend) == 0)  # those of the last wait are kept for a moment
    before = locks(connection, backend)
    pool = ThreadPoolExecutor(1)
    waiting = pool.submit(backend.wait, queues, TOO_LONG_SECONDS)
    pool.shutdown(wait=False)
    wait_until(lambda: number_of_waits(backend) > others)
    wait_until(lambda: locks(connection, backend) >= max(before, expected_locks))
    return waiting


def number_of_waits(backend: PostgresBackend) -> int:
    return len(backend._waiter._waits)  # type: ignore[attr-defined]


def end(backend: PostgresBackend, *waiting: Future[None]) -> None:
    backend.interrupt()
    for wait in waiting:
        wait.result(PATIENCE_SECONDS)


def test_nobody_is_notified_while_nobody_waits(quiet: PostgresBackend, ear: Ear) -> None:
    quiet.enqueue(new_jobs("a"))
    quiet.enqueue(new_jobs("b", "c"))
    quiet.enqueue([new_job("d"), new_job("e", queue="new")])
    assert ear.heard() == []


@pytest.mark.parametrize("queues", [None, ["default"], ["other", "default"]], ids=["every", "one", "two"])
def test_each_kind_of_enqueue_notifies_who_waits(
    quiet: PostgresBackend,
    open_postgres: OpenPostgres,
    connection: psycopg.Connection[Any],
    ear: Ear,
    queues: list[str] | None,
) -> None:
    producer = open_postgres()
    producer.enqueue([new_job("known")])
    quiet.reserve(None, 10, "w1", request_no=2)
    ways = (new_jobs("a"), new_jobs("b", "c"), [new_job("d")], [new_job("e"), new_job("f", queue="new")])
    for number, jobs in enumerate(ways):
        waiting = start_waiting(quiet, connection, queues, expected_locks=len(queues or [None]))
        producer.enqueue(jobs)
        waiting.result(PATIENCE_SECONDS)
        assert "default" in ear.heard()
        quiet.reserve(None, 10, "w1", request_no=3 + number)


def test_only_who_waits_for_that_queue_is_notified(
    quiet: PostgresBackend, open_postgres: OpenPostgres, connection: psycopg.Connection[Any], ear: Ear
) -> None:
    waiting = start_waiting(quiet, connection, ["other"])
    open_postgres().enqueue([new_job("a"), *new_jobs("b", "c")])
    assert ear.heard() == []
    assert not waiting.done()
    end(quiet, waiting)


def test_jobs_for_later_notify_nobody(
    quiet: PostgresBackend, connection: psycopg.Connection[Any], ear: Ear, open_postgres: OpenPostgres
) -> None:
    producer = open_postgres()
    producer.enqueue(new_jobs("x", delay_seconds=60))  # now it knows the queue
    waiting = start_waiting(quiet, connection, None)
    producer.enqueue(new_jobs("a", delay_seconds=60))
    producer.enqueue(new_jobs("b", "c", delay_seconds=60))
    assert ear.heard() == []
    end(quiet, waiting)


def test_a_released_job_wakes_who_waits(
    quiet: PostgresBackend, open_postgres: OpenPostgres, connection: psycopg.Connection[Any]
) -> None:
    other = open_postgres()
    other.enqueue([new_job("a")])
    (job,) = other.reserve(["default"], 1, "w1", request_no=2)
    waiting = start_waiting(quiet, connection, ["default"])
    other.report("w1", [Release(id="a", lease_no=job.lease_no)], request_no=2)
    waiting.result(PATIENCE_SECONDS)


def test_locks_are_left_soon_after_the_wait(quiet: PostgresBackend, connection: psycopg.Connection[Any]) -> None:
    end(quiet, start_waiting(quiet, connection, ["a", "b", "it's"], expected_locks=3))
    wait_until(lambda: locks(connection, quiet) == 0)


def test_waits_of_several_threads_share_one_connection(
    quiet: PostgresBackend, open_postgres: OpenPostgres, connection: psycopg.Connection[Any]
) -> None:
    waits = [start_waiting(quiet, connection, queues) for queues in (None, ["default"], ["default"])]
    wait_until(lambda: locks(connection, quiet) == 2)
    assert len(listening_pids(connection, quiet)) == 1
    open_postgres().enqueue(new_jobs("a"))
    for wait in waits:
        wait.result(PATIENCE_SECONDS)


def test_a_listening_connection_that_is_ended_is_opened_again(
    quiet: PostgresBackend, open_postgres: OpenPostgres, connection: psycopg.Connection[Any]
) -> None:
    waiting = start_waiting(quiet, connection, None)
    (pid,) = listening_pids(connection, quiet)
    connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: listening_pids(connection, quiet) not in ([], [pid]))
    open_postgres().enqueue([new_job("a")])
    waiting.result(PATIENCE_SECONDS)


def test_without_a_listening_connection_waiting_is_polling(open_postgres: OpenPostgres, postgres_url: str) -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))  # and it does not listen
        gone = f"postgres://127.0.0.1:{nobody.getsockname()[1]}/wg"
        backend = open_postgres(listen_url=gone, poll_interval=0.1)
        backend.migrate()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(backend.wait, None, TOO_LONG_SECONDS)
            open_postgres().enqueue([new_job("a")])
            waiting.result(PATIENCE_SECONDS)


def test_polling_opens_no_connection_to_listen(
    open_postgres: OpenPostgres, connection: psycopg.Connection[Any]
) -> None:
    for options in ({"listen": False}, {"prepared_statements": False}):
        backend = open_postgres(**options)
        backend.migrate()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(backend.wait, ["default"], TOO_LONG_SECONDS)
            open_postgres().enqueue([new_job(f"a {options}")])
            waiting.result(PATIENCE_SECONDS)
        assert listening_pids(connection, backend) == []
        register(backend)
        backend.reserve(None, 9, "w1", request_no=1)


class FreezingRelay:
    """Passes bytes on to the server until it freezes: then both ends stay open and nothing arrives any more."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.url = f"postgres://postgres@127.0.0.1:{self._address[1]}{parts.path}"
        self.frozen = False
        self.accepted = 0
        self._closed = threading.Event()
        self._sockets = [self._listener]
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._passing: list[threading.Thread] = []
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            self._sockets.append(near)
            if self._closed.is_set():
                return
            self.accepted += 1
            far = socket.create_connection(self._target)
            self._sockets.append(far)
            for ends in ((near, far), (far, near)):
                self._passing.append(threading.Thread(target=self._pass_on, args=ends, name="relay", daemon=True))
                self._passing[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65_536)
                if self.frozen:
                    self._closed.wait()
                if not data:
                    target.shutdown(socket.SHUT_RDWR)
                    return
                target.sendall(data)

    def close(self) -> None:
        """End everything, and leave neither a thread nor a connection to the tests that come after."""
        self._closed.set()
        with socket.create_connection(self._address):
            self._accepting.join()
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._passing:
            thread.join()
        for opened in self._sockets:
            opened.close()


def test_a_socket_whose_other_end_went_silent_is_noticed(
    open_postgres: OpenPostgres,
    postgres_url: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(listening, "_ANSWER_SECONDS", 2.0)
    with closing(FreezingRelay(postgres_url)) as relay:
        backend = open_postgres(listen_url=relay.url, poll_interval=NEVER_LOOKS)
        backend.migrate()
        waiting = start_waiting(backend, connection, None)
        relay.frozen = True
        wait_until(lambda: relay.accepted >= 2)  # it was given up, and another one is tried
        relay.frozen = False
        end(backend, waiting)


def test_a_silent_socket_is_noticed_also_while_waits_come_and_go(
    open_postgres: OpenPostgres,
    postgres_url: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_PROBE_SECONDS", 1.0)  # short waits ring far more often
    monkeypatch.setattr(listening, "_ANSWER_SECONDS", 2.0)
    with closing(FreezingRelay(postgres_url)) as relay:
        backend = open_postgres(listen_url=relay.url, poll_interval=NEVER_LOOKS)
        backend.migrate()
        waiting = start_waiting(backend, connection, None)
        relay.frozen = True

        def noticed_after_a_short_wait() -> bool:
            backend.wait(None, 0.01)
            return relay.accepted >= 2

        wait_until(noticed_after_a_short_wait)
        relay.frozen = False
        end(backend, waiting)


def test_an_interrupt_does_not_wait_for_a_server_that_does_not_answer(
    open_postgres: OpenPostgres, postgres_url: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"postgres://postgres@127.0.0.1:{mute.getsockname()[1]}/wg"
        backend = open_postgres(listen_url=url, poll_interval=NEVER_LOOKS)
        backend.migrate()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(backend.wait, None, TOO_LONG_SECONDS)
            wait_until(lambda: number_of_waits(backend) == 1)
            end(backend, waiting)


def test_a_closed_backend_refuses_to_wait_and_leaves_no_thread(
    quiet: PostgresBackend, connection: psycopg.Connection[Any]
) -> None:
    waiting = start_waiting(quiet, connection, None)
    listener = quiet._waiter._listener  # type: ignore[attr-defined]
    quiet.close()
    waiting.result(PATIENCE_SECONDS)
    listener._thread.join(PATIENCE_SECONDS)
    assert not listener._thread.is_alive()
    with pytest.raises(BackendUnavailableError, match="closed"):
        quiet.wait(None, 1.0)
