"""Guards that no other test would miss for certain: each is taken out by a mutant in tests/mutants."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, handler
from wg_core._board import SharedBoard, create_memory
from wg_core._buffer import JobBuffer
from wg_core._executor import Crew, Executor
from wg_core._lease import NoBoard
from wg_core._reporter import Reporter
from wg_core._rescuer import Rescuer
from wg_core._slot import Slot
from wg_core._timeouts import Timeouts
from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendUnavailableError, LeaseLostError
from wg_core.handlers import HandlerRegistry
from wg_core.job import JobState, NewJob
from wg_core.memory import MemoryBackend
from wg_core.outcome import Ack, Release
from wg_core.protocol import RequeueJobs, WorkerBeat
from wg_core.registry import open_backend
from wg_core.testing.faults import FaultyBackend
from wg_redis import RedisBackend
from wg_sqlite import SQLiteBackend

NOON = 1_000_000_000_000
LEASE_MS = 30_000
A_MOMENT = 0.2


@pytest.fixture(params=["memory", "sqlite", "sqlite in memory", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, fresh_namespace: str) -> Iterator[Backend]:
    urls = {"memory": "memory:", "sqlite": f"sqlite:{tmp_path / 'jobs.db'}", "sqlite in memory": "sqlite::memory:"}
    url = urls.get(request.param) or request.getfixturevalue("redis_url")
    with open_backend(url, namespace=fresh_namespace) as opened:
        yield opened


@pytest.fixture
def store() -> Store:
    return Store(FaultyBackend(MemoryBackend.open(f"memory:{uuid.uuid4().hex}", "wg")))


def new_job(job_id: str, **attributes: Any) -> NewJob:
    return NewJob(id=job_id, name="work", body=b"{}", **attributes)


# ---------------------------------------------------------------------- every store


def give_up_while_it_holds_jobs(backend: Backend) -> int:
    """Let a rescue of one job mark `w1` as gone, which holds another one still; return the time."""
    backend.beat([WorkerBeat(worker="w1", lease_seconds=LEASE_MS / 1_000, first=True)], now=NOON)
    backend.enqueue([new_job("a"), new_job("b"), new_job("c")], now=NOON)
    assert len(backend.reserve(None, 2, "w1", request_no=1, now=NOON)) == 2
    after_lease = NOON + LEASE_MS + 1
    assert len(backend.rescue(1, now=after_lease)) == 1
    return after_lease


def test_a_worker_that_is_gone_may_not_reserve_though_the_clock_is_set_back(backend: Backend) -> None:
    give_up_while_it_holds_jobs(backend)
    with pytest.raises(LeaseLostError):
        backend.reserve(None, 1, "w1", request_no=2, now=NOON + 1)


def test_a_worker_that_is_gone_cannot_register_again(backend: Backend) -> None:
    now = give_up_while_it_holds_jobs(backend)
    answer = backend.beat([WorkerBeat(worker="w1", lease_seconds=30.0, first=True)], now=now)
    assert answer.news["w1"].lease_lost
    assert len(backend.rescue(10, now=now)) == 1


def test_who_waits_already_is_woken_when_a_job_becomes_ready(backend: Backend) -> None:
    backend.enqueue([new_job("later", delay_seconds=3_600.0)])
    woken = threading.Event()

    def wait() -> None:
        backend.wait(None, 10 * PATIENCE_SECONDS)
        woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not woken.wait(A_MOMENT)
    backend.alter(["later"], RequeueJobs())
    assert woken.wait(PATIENCE_SECONDS / 2)
    thread.join(PATIENCE_SECONDS)


# ---------------------------------------------------------------------- Redis


def test_the_child_of_a_fork_talks_to_redis_over_a_connection_of_its_own(redis_url: str, fresh_namespace: str) -> None:
    with RedisBackend.open(redis_url, fresh_namespace) as backend:
        connection = backend._server.command("CLIENT", "ID")
        assert backend._server.command("CLIENT", "ID") == connection
        said = answer_of_forked_child(lambda: backend._server.command("CLIENT", "ID"))
        assert said.isdecimal()
        assert int(said) != connection


def answer_of_forked_child(ask: Callable[[], object]) -> str:
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this is about
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # a child that hangs must not outlive the test
        try:
            os.write(write_end, str(ask()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    said = os.read(read_end, 100).decode()
    os.close(read_end)
    return said


# ---------------------------------------------------------------------- SQLite


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def sqlite(database: Path) -> Iterator[SQLiteBackend]:
    with SQLiteBackend.open(f"sqlite:{database}", "wg") as backend:
        backend.beat([WorkerBeat(worker="w1", lease_seconds=3_600.0, first=True)])
        yield backend


def test_a_transition_holds_the_write_lock_of_sqlite_from_its_beginning(sqlite: SQLiteBackend, database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=0.0, isolation_level=None)) as other:
        with sqlite._connections.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


TRANSITIONS: dict[str, Callable[[SQLiteBackend], object]] = {
    "enqueue": lambda store: store.enqueue([new_job("d"), new_job("e")]),
    "reserve": lambda store: store.reserve(None, 10, "w1", request_no=2),
    "report": lambda store: store.report("w1", [Ack(id="a", lease_no=1), Release(id="b", lease_no=1)], request_no=1),
    "retire": lambda store: store.retire("w1", [("a", 1)], "killed"),
    "rescue": lambda store: store.rescue(10, now=2 * NOON),
    "promote": lambda store: store.promote(10, now=2 * NOON),
    "alter": lambda store: store.alter(["a", "b", "later"], RequeueJobs()),
}


@pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)
def test_a_transition_is_one_transaction_in_sqlite(
    sqlite: SQLiteBackend, transition: Callable[[SQLiteBackend], object]
) -> None:
    sqlite.enqueue([new_job("a"), new_job("b"), new_job("c"), new_job("later", delay_seconds=60.0)])
    assert len(sqlite.reserve(None, 2, "w1", request_no=1)) == 2
    statements: list[str] = []
    connections: Any = sqlite._connections
    connections.writer().set_trace_callback(statements.append)
    assert transition(sqlite)
    assert len(statements) > 2
    assert [text for text in statements if text.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert (statements[0], statements[-1]) == ("BEGIN IMMEDIATE", "COMMIT")


# ---------------------------------------------------------------------- the worker, and its board


def test_what_was_buffered_under_a_lease_that_is_lost_never_starts(store: Store) -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(1)

    reporter = Reporter(batch_size=1)
    crew = Crew(JobBuffer(), reporter, Timeouts(lambda *_: None), HandlerRegistry.of([handler(work)]), NoBoard())
    held = store.hold(store.lease())
    held.lease.lost = True
    Executor(Slot(0), crew).run(held)
    assert (runs, reporter.unreported) == ([], 0)
    assert store.state(held.job.id) is JobState.RUNNING


def test_a_reserve_whose_answer_was_lost_is_repeated_under_its_number(store: Store) -> None:
    lease = store.lease()
    store.put(id="a")
    store.put(id="b")
    store.backend.lose_answer("reserve")
    with pytest.raises(AmbiguousResultError):
        lease.reserve(None, 1)
    assert [held.job.id for held in lease.reserve(None, 1)] == ["a"]
    assert [record.id for record in store.jobs(JobState.RUNNING)] == ["a"]


def test_a_rescuer_that_could_not_reach_the_store_does_not_ask_it_right_after(store: Store) -> None:
    lease = store.lease()
    rescuer = Rescuer(
        store.backend, store.watch, lambda: lease.worker, interval_seconds=1.0, lease_seconds=3_600.0, batch_size=10
    )
    store.backend.unavailable("rescue")
    with pytest.raises(BackendUnavailableError):
        rescuer.run_once()
    store.watch.answered()
    rescuer.run_once()
    assert store.backend.calls["rescue"] == 1


def test_a_start_that_breaks_off_before_its_facts_are_written_shows_no_handler() -> None:
    memory = create_memory(1)
    board = SharedBoard(memory, 1)
    os.close(memory)
    board.started(0, "before", 1, 10.0)
    board.ended(0)
    with pytest.raises(UnicodeEncodeError):
        board.started(0, "jöb", 2, None)
    assert board.running() == []
