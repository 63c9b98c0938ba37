"""The stop sequence: what goes back, what may finish, what is broken off, and how long it takes at most."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually, handler
from wg_core import JobFunction, WorkerPool
from wg_core.context import current_job
from wg_core.job import JobState
from wg_core.testing.faults import FaultyBackend

MakePool = Callable[..., WorkerPool]


class Blocker:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.ended = threading.Event()
        self.cancelled: list[tuple[bool, bool]] = []

        def block() -> None:
            job = current_job()
            self.started.release()
            assert self.may_end.wait(PATIENCE_SECONDS)
            self.cancelled.append((job.cancelled, job.lease_lost))
            self.ended.set()

        self.job: JobFunction[..., None] = handler(block)

    def wait_until_it_runs(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.started.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def blocker() -> Iterator[Blocker]:
    blocker = Blocker()
    yield blocker
    blocker.may_end.set()


def test_a_running_handler_may_finish(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    pool = make_pool(blocker.job)
    pool.start()
    store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    pool.stop()
    assert not pool.join(0.1)
    blocker.may_end.set()
    assert pool.join(PATIENCE_SECONDS)
    assert store.is_empty()
    assert pool.exit_code == 0
    assert blocker.cancelled == [(False, False)]


def test_what_only_waited_goes_back_while_handlers_still_run(
    store: Store, make_pool: MakePool, blocker: Blocker
) -> None:
    pool = make_pool(blocker.job, threads=1)
    pool._runtime._build(pool._runtime.crew.registry, pool._runtime.crew.board, None)
    pool._runtime.timeouts.slots[0].ended = 1_000  # as if jobs had been fast until now
    store_ids = [store.enqueue(blocker.job) for _ in range(10)]
    pool.start()
    blocker.wait_until_it_runs()
    pool.stop()
    eventually(lambda: len(store.jobs(JobState.READY)) == 9)
    assert [store.state(one) for one in store_ids].count(JobState.RUNNING) == 1
    assert {job.attempt for job in store.jobs(JobState.READY)} == {0}
    blocker.may_end.set()
    assert pool.join(PATIENCE_SECONDS)
    assert len(store.jobs(JobState.READY)) == 9


def test_after_the_timeout_unfinished_jobs_go_back_without_using_an_attempt(
    store: Store, make_pool: MakePool, blocker: Blocker
) -> None:
    pool = make_pool(blocker.job, shutdown_timeout=0.2)
    pool.start()
    job_id = store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert (record.state, record.attempt, record.history) == (JobState.READY, 0, ())
    assert pool.exit_code == 1
    assert not store.backend.workers()


def test_the_handler_that_was_broken_off_is_told(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    computing = threading.Event()
    ends: list[BaseException] = []

    def compute() -> None:
        try:
            computing.set()
            while True:
                pass
        except BaseException as error:
            ends.append(error)
            raise

    compute_job = handler(compute)
    pool = make_pool(blocker.job, compute_job)
    pool.start()
    store.enqueue(blocker.job)
    store.enqueue(compute_job)
    blocker.wait_until_it_runs()
    assert computing.wait(PATIENCE_SECONDS)
    pool.stop(now=True)
    assert pool.join(PATIENCE_SECONDS)
    eventually(lambda: ends)
    assert type(ends[0]).__name__ == "RaisedCancel"
    blocker.may_end.set()
    assert len(store.jobs(JobState.READY)) == 2


def test_a_second_stop_does_not_wait_for_handlers(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    pool = make_pool(blocker.job, shutdown_timeout=3_600.0)
    pool.start()
    job_id = store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    pool.stop()
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    assert store.state(job_id) is JobState.READY


def test_leaving_the_block_after_a_stop_is_no_second_stop(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    with make_pool(blocker.job) as pool:
        store.enqueue(blocker.job)
        blocker.wait_until_it_runs()
        pool.stop()
        threading.Timer(0.1, blocker.may_end.set).start()
    assert store.is_empty()
    assert pool.exit_code == 0


def test_a_job_of_one_start_that_is_broken_off_is_dead_with_the_reason(
    store: Store, make_pool: MakePool, blocker: Blocker
) -> None:
    pool = make_pool(blocker.job)
    pool.start()
    job_id = store.enqueue(blocker.job, at_most_once=True)
    blocker.wait_until_it_runs()
    pool.stop(now=True)
    assert pool.join(PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert record.state is JobState.DEAD
    assert "the worker stopped" in (record.history[0].error_message or "")


def test_a_job_of_one_start_whose_start_was_not_answered_goes_back(
    store: Store, make_pool: MakePool, backend: FaultyBackend, blocker: Blocker
) -> None:
    backend.unavailable("report", times=None)
    pool = make_pool(blocker.job)
    pool.start()
    job_id = store.enqueue(blocker.job, at_most_once=True)
    eventually(lambda: backend.hits["report"])
    pool.stop(now=True)
    eventually(pool._runtime.crew.stopping.is_set)  # before it, an answered Start would let the handler begin
    backend.heal()
    assert pool.join(PATIENCE_SECONDS)
    assert store.state(job_id) is JobState.READY
    assert not blocker.started.acquire(blocking=False)


def test_a_store_that_is_away_does_not_keep_a_worker_from_stopping(
    store: Store, make_pool: MakePool, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wg_core._shutdown.REPORT_SECONDS", 0.3)
    done = threading.Event()

    def end() -> None:
        done.set()

    done_job = handler(end)
    pool = make_pool(done_job)
    pool.start()
    backend.unavailable("report", times=None)
    backend.unavailable("retire", times=None)
    job_id = store.enqueue(done_job)
    assert done.wait(PATIENCE_SECONDS)
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    assert pool.exit_code == 1
    assert store.state(job_id) is JobState.RUNNING  # its lease ends by itself, then it is rescued


def test_what_was_broken_off_and_could_not_be_reported_goes_back_without_using_an_attempt(
    store: Store,
    make_pool: MakePool,
    backend: FaultyBackend,
    blocker: Blocker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wg_core._shutdown.REPORT_SECONDS", 0.2)
    pool = make_pool(blocker.job)
    pool.start()
    job_id = store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    backend.unavailable("report", times=None)
    pool.stop(now=True)
    assert pool.join(PATIENCE_SECONDS)
    assert backend.calls["retire"] == 1  # no report can have done it
    record = store.record(job_id)
    assert record is not None
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)


def test_a_worker_that_waits_for_the_store_at_its_start_can_be_stopped(
    make_pool: MakePool, backend: FaultyBackend, blocker: Blocker
) -> None:
    backend.unavailable("beat", times=None)
    pool = make_pool(blocker.job)
    starting = threading.Thread(target=pool.start)
    starting.start()
    eventually(lambda: backend.hits["beat"])
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    starting.join(PATIENCE_SECONDS)
    assert backend.calls["retire"] == 0


def test_beats_go_on_until_the_last_outcome_was_reported(
    store: Store, make_pool: MakePool, backend: FaultyBackend, blocker: Blocker
) -> None:
    pool = make_pool(blocker.job)
    pool.start()
    store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    may_report = threading.Event()
    backend.hold("report", until=may_report)
    pool.stop()
    blocker.may_end.set()
    eventually(lambda: backend.hits["report"])
    beats = backend.calls["beat"]
    eventually(lambda: backend.calls["beat"] > beats + 2)
    may_report.set()
    assert pool.join(PATIENCE_SECONDS)
    assert store.is_empty()


# ---------------------------------------------------------------------- signals

PROGRAM = """
import sys, threading
from wg_core import Client, WorkerPool, job
from wg_core.registry import open_backend

@job
def block() -> None:
    print("running", flush=True)
    threading.Event().wait(float(sys.argv[1]))
    print("finished", flush=True)

pool = WorkerPool(backend=open_backend("memory:"), shutdown_timeout=600)
Client(open_backend("memory:")).enqueue(block.job())
code = pool.run()
print("stats", open_backend("memory:").stats().ready, flush=True)
sys.exit(code)
"""


@pytest.fixture
def worker() -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""})
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_handler_finish(
    worker: Callable[[float], subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = worker(1.0)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert output == "finished\nstats 0\n"
    assert process.returncode == 0


def test_a_second_signal_gives_the_job_back_at_once(worker: Callable[[float], subprocess.Popen[str]]) -> None:
    process = worker(600.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert output == "stats 1\n"
    assert process.returncode == 1


def test_the_signal_handlers_of_the_host_come_back(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert make_pool(blocker.job, burst=True).run() == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_in_another_thread_the_signals_are_left_alone(store: Store, make_pool: MakePool, blocker: Blocker) -> None:
    before = signal.getsignal(signal.SIGTERM)
    pool = make_pool(blocker.job)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(pool.run()))
    thread.start()
    store.enqueue(blocker.job)
    blocker.wait_until_it_runs()
    assert signal.getsignal(signal.SIGTERM) is before
    blocker.may_end.set()
    pool.stop()
    thread.join(PATIENCE_SECONDS)
    assert codes == [0]
