"""Many processes on one file: first starts, races, forks, kills and wake-ups."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.backends.sqlite.support import (
    PATIENCE_SECONDS,
    OpenSQLite,
    end,
    new_job,
    register,
    start_child,
    wait_until,
)
from wg_core.backend import Backend
from wg_core.errors import BackendUnavailableError
from wg_core.outcome import Ack
from wg_core.protocol import StatsLevel
from wg_sqlite import forks

pytestmark = [
    pytest.mark.timeout(600),  # sixteen starts, or five forks, on a machine that does other things
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # from Python 3.12 on, where threads are
]


@pytest.fixture
def url(database: Path) -> str:
    """The file, for children that stand in line for it as long as it takes."""
    return f"sqlite:{database}?busy_timeout={PATIENCE_SECONDS}"


def assert_sound(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_sixteen_processes_start_at_once_on_a_file_that_does_not_exist(
    url: str, database: Path, backend: Backend
) -> None:
    children = [start_child("first_start", url, f"job-{number}") for number in range(16)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        end(child)
    assert backend.stats().ready == 16
    assert_sound(database)


def test_several_processes_drain_a_queue_and_run_every_job_once(url: str, database: Path, backend: Backend) -> None:
    everything = [f"job-{number}" for number in range(3_000)]
    for start in range(0, len(everything), 1_000):
        backend.enqueue([new_job(job_id) for job_id in everything[start : start + 1_000]])
    children = [start_child("work", url, f"w{number}") for number in range(4)]
    outputs = [end(child).split() for child in children]
    assert sorted(job_id for output in outputs for job_id in output) == sorted(everything)
    assert backend.stats(StatsLevel.EXACT).queues["default"].done == len(everything)
    assert_sound(database)


def test_killed_producers_lose_nothing_that_was_answered(url: str, database: Path, open_sqlite: OpenSQLite) -> None:
    answered: set[str] = set()
    for number in range(6):
        child = start_child("produce", url, f"p{number}")
        answered |= read_until_killed(child, lines=5 + 17 * number)
    backend = open_sqlite()
    ids = sorted(answered)
    stored = {record.id for start in range(0, len(ids), 500) for record in backend.get(ids[start : start + 500])}
    assert stored == answered
    assert len(answered) > 100
    assert_sound(database)


def test_killed_consumers_lose_nothing_and_leave_nothing_stranded(
    url: str, database: Path, open_sqlite: OpenSQLite
) -> None:
    backend = open_sqlite()
    everything: set[str] = set()
    finished: list[str] = []
    for number in range(4):
        more = [f"job-{number}-{extra}" for extra in range(300)]  # so that it never waits for work while we for a line
        backend.enqueue([new_job(job_id) for job_id in more])
        everything.update(more)
        child = start_child("consume", url, f"w{number}")
        finished += read_until_killed(child, lines=8 + 9 * number)
        backend.retire(f"w{number}", [], "killed by the test")
    finished += end(start_child("work", url, "the last")).split()
    assert set(finished) <= everything
    assert len(finished) == len(set(finished))  # an answered report is never undone
    stats = backend.stats(StatsLevel.EXACT)
    assert (stats.ready, stats.running, stats.dead) == (0, 0, 0)
    assert stats.queues["default"].done == len(everything)
    assert_sound(database)


def read_until_killed(child: subprocess.Popen[str], lines: int) -> set[str]:
    """Read some lines, kill the child in the middle of whatever it does, and return every word it had written."""
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    with child:
        # not by `communicate`: it leaves out what was read ahead, which may end in the middle of a word
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return {word for line in said if line.endswith("\n") for word in line.split()}


def test_a_waiting_process_notices_a_commit_of_another(url: str, backend: Backend) -> None:
    backend.migrate()
    child = start_child("await_job", url, 10 * PATIENCE_SECONDS)  # longer than `end` has patience
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    backend.enqueue([new_job("a")])
    assert end(child) == "1\n"


def test_a_process_that_waits_is_not_woken_by_work_of_other_queues(backend: Backend, open_sqlite: OpenSQLite) -> None:
    register(backend)
    looks: list[bool] = []
    waiter = backend._waiter
    original: Callable[..., bool] = waiter._has_ready
    waiter._has_ready = lambda queues: looks.append(original(queues)) or looks[-1]
    thread = threading.Thread(target=backend.wait, args=(["mine"], 10 * PATIENCE_SECONDS), daemon=True)
    thread.start()
    other = open_sqlite()
    for number in range(5):
        another_look = partial(lambda seen: len(looks) > seen, len(looks))
        other.enqueue([new_job(f"other-{number}", queue="others")])
        wait_until(another_look)
    assert thread.is_alive()
    other.enqueue([new_job("mine", queue="mine")])
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert looks.count(True) == 1


# ---------------------------------------------------------------------- forks

FORKING = textwrap.dedent(
    """
    import gc, os, sys, threading, traceback
    from wg_core.job import NewJob
    from wg_sqlite import SQLiteBackend

    backend = SQLiteBackend.open(sys.argv[1], "wg")
    how_the_child_ends = sys.argv[2]

    def enqueue(name):
        assert backend.enqueue([NewJob(id=name, name="job", body=b"x" * 3000)])[0].stored

    def churn(kind, stop, step):
        number = 0
        while not stop.is_set():
            number += 1
            step(f"{kind}-{number}")

    enqueue("before")
    stop = threading.Event()
    steps = {"write": enqueue, "read": lambda name: backend.get([name]), "wait": lambda _: backend.wait(["none"], 0.01)}
    threads = [threading.Thread(target=churn, args=(kind, stop, step)) for kind, step in steps.items()]
    for thread in threads:
        thread.start()

    def be_the_child(number):
        gc.collect()
        assert len(backend.get(["before"])) == 1
        for extra in range(20):
            enqueue(f"child-{number}-{extra}")
        backend.wait(["none"], 0.01)
        if how_the_child_ends == "close":
            backend.close()

    for number in range(5):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                be_the_child(number)
                status = 0
            except BaseException:
                traceback.print_exc()
            if how_the_child_ends == "exit" and not status:
                sys.exit(0)
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, number
    stop.set()
    for thread in threads:
        thread.join()
    for number in range(5):
        assert len(backend.get([f"child-{number}-{extra}" for extra in range(20)])) == 20
    backend.close()
    print("sound")
    """
)


@pytest.mark.parametrize("how_the_child_ends", ["_exit", "exit", "close"])
def test_a_fork_in_the_middle_of_reads_and_writes_harms_neither_side(
    url: str, database: Path, how_the_child_ends: str
) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, url, how_the_child_ends]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=5 * PATIENCE_SECONDS, check=False)
    assert (finished.returncode, finished.stdout) == (0, "sound\n")
    assert_sound(database)


def in_a_fork(work: Callable[[], str]) -> str:
    """Return what a forked child says."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, work().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        return said.read()


def test_nothing_is_open_while_the_process_forks(backend: Backend, open_sqlite: OpenSQLite, database: Path) -> None:
    for one in (backend, open_sqlite()):
        one.enqueue([new_job(f"job-{id(one)}")])
        one.wait(["none"], 0.0)

    def open_files() -> str:
        return str(sum(str(entry.resolve()).startswith(str(database)) for entry in Path("/proc/self/fd").iterdir()))

    assert open_files() != "0"
    assert in_a_fork(open_files) == "0"
    assert backend.stats().ready == 2


def test_the_child_of_a_fork_that_could_not_wait_refuses_the_file(
    backend: Backend, open_sqlite: OpenSQLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "PATIENCE_SECONDS", 0.05)
    backend.enqueue([new_job("a")])

    def try_to_use_it() -> str:
        refusals = 0
        for one in (backend, open_sqlite()):
            for call in (one.stats, lambda one=one: one.enqueue([new_job("b")]), lambda one=one: one.has_ready(None)):
                try:
                    call()
                except BackendUnavailableError as error:
                    refusals += "forked while a call on the file took longer" in str(error)
        return str(refusals)

    with backend._connections.writing():
        assert in_a_fork(try_to_use_it) == "6"
    assert backend.stats().ready == 1
    assert in_a_fork(lambda: str(backend.enqueue([new_job("b")])[0].stored)) == "True"


def test_the_child_of_a_fork_has_an_empty_store_in_memory(open_sqlite: OpenSQLite, fresh_namespace: str) -> None:
    backend = open_sqlite("sqlite::memory:", fresh_namespace)
    backend.enqueue([new_job("parent")])

    def use_it() -> str:
        backend.enqueue([new_job("child")])
        return str([record.id for record in backend.get(["parent", "child"])])

    assert in_a_fork(use_it) == "['child']"
    assert [record.id for record in backend.get(["parent", "child"])] == ["parent"]


def test_nothing_of_the_backend_opens_the_database_but_sqlite(database: Path, url: str) -> None:
    """Closing any descriptor of the file drops every lock of the process, so Python must never open it."""
    opened: list[str] = []
    script = textwrap.dedent(
        """
        import sys
        seen = []
        def hook(event, arguments):
            if event in {"open", "shutil.copyfile", "os.rename"} and "jobs.db" in str(arguments[0]):
                seen.append((event, arguments[0]))
        sys.addaudithook(hook)
        from wg_core.job import NewJob
        from wg_sqlite import SQLiteBackend
        with SQLiteBackend.open(sys.argv[1], "wg") as backend:
            backend.enqueue([NewJob(id="a", name="job", body=b"")])
            backend.wait(None, 0.01); backend.stats(); backend.health(); backend.migrate(dry_run=True)
        print(seen)
        """
    )
    command = [sys.executable, "-c", script, url]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    assert finished.stdout == f"{opened}\n"
    assert database.exists()


# ---------------------------------------------------------------------- threads of one process


def test_backends_of_one_process_take_turns_without_waiting_for_sqlite(open_sqlite: OpenSQLite) -> None:
    backends = [open_sqlite(busy_timeout=0) for _ in range(4)]
    backends[0].migrate()
    errors: list[BaseException] = []

    def churn(number: int) -> None:
        try:
            backend, worker = backends[number], f"w{number}"
            register(backend, worker)
            for request_no in range(1, 40):
                backend.enqueue([new_job(f"{worker}-{request_no}")])
                jobs = backend.reserve(None, 3, worker, request_no=request_no)
                backend.report(worker, [Ack(id=job.id, lease_no=job.lease_no) for job in jobs], request_no=request_no)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert errors == []  # a busy timeout of zero would have shown any two writers at once
