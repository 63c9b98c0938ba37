"""Jobs run end to end on the memory store: what handlers see, and what becomes of how they end."""

from __future__ import annotations

import contextvars
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, body_of, eventually, handler
from wg_core import JobError, WorkerPool
from wg_core._prefetch import Prefetch
from wg_core.backoff import MOST_BOUNCES
from wg_core.context import current_job
from wg_core.errors import BackendRejectedError, ConfigError, PayloadError, WgError
from wg_core.job import JobState
from wg_core.testing.faults import FaultyBackend
from wg_core.worker import NotIdleError

MakePool = Callable[..., WorkerPool]


def test_an_enqueued_job_runs_and_is_gone(store: Store, make_pool: MakePool) -> None:
    seen: list[int] = []

    def add(number: int) -> None:
        seen.append(number)

    add_job = handler(add)
    with make_pool(add_job) as pool:
        for number in range(50):
            store.enqueue(add_job, number)
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert sorted(seen) == list(range(50))
    assert store.is_empty()


def test_inside_the_block_enqueue_goes_to_the_store_of_the_pool(store: Store, make_pool: MakePool) -> None:
    ran = threading.Event()

    def second() -> None:
        ran.set()

    second_job = handler(second)

    def first() -> None:
        second_job.enqueue()

    first_job = handler(first)
    with make_pool(first_job, second_job) as pool:
        first_job.enqueue()
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert ran.is_set()


def test_one_thread_runs_jobs_in_the_order_of_the_store(
    store: Store, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing is given back: later jobs may pass by what is on its way back to the store."""
    monkeypatch.setattr(Prefetch, "jobs_ahead", lambda _: 50)
    seen: list[int] = []

    def note(number: int) -> None:
        seen.append(number)

    note_job = handler(note)
    for number in range(200):
        store.enqueue(note_job, number, priority=number % 3)
    make_pool(note_job, threads=1).run_until_idle(timeout=PATIENCE_SECONDS)
    assert seen == sorted(range(200), key=lambda number: (-(number % 3), number))


def test_a_failing_job_is_retried_and_its_attempts_are_recorded(store: Store, make_pool: MakePool) -> None:
    def flaky() -> None:
        if current_job().attempt < 3:
            raise ValueError(f"attempt {current_job().attempt}")
        raise JobError.fatal("and that is that")

    flaky_job = handler(flaky, retry_delay=0.01)
    with make_pool(flaky_job):
        job_id = store.enqueue(flaky_job)
        eventually(lambda: store.state(job_id) is JobState.DEAD)
    record = store.record(job_id)
    assert record is not None
    assert [one.outcome for one in record.history] == ["retry", "retry", "dead"]
    assert [one.error_message for one in record.history] == ["attempt 1", "attempt 2", "and that is that"]
    assert [one.error_type for one in record.history] == ["ValueError", "ValueError", "JobError"]
    assert "raise ValueError" in (record.history[0].traceback or "")
    assert "_executor.py" not in (record.history[0].traceback or "")
    assert all(one.started_at and one.ended_at and one.started_at <= one.ended_at for one in record.history)


def test_a_job_is_dead_after_its_attempts(store: Store, make_pool: MakePool) -> None:
    def fail() -> None:
        raise ValueError("no")

    fail_job = handler(fail, retry_delay=0.001, max_retries=2)
    with make_pool(fail_job):
        job_id = store.enqueue(fail_job)
        eventually(lambda: store.state(job_id) is JobState.DEAD)
    record = store.record(job_id)
    assert record is not None
    assert [one.attempt for one in record.history] == [1, 2, 3]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_thread_survives_whatever_a_handler_raises(store: Store, make_pool: MakePool, error: BaseException) -> None:
    def leave() -> None:
        raise error

    leave_job = handler(leave, max_retries=0)
    pool = make_pool(leave_job, threads=1)
    for _ in range(3):
        store.enqueue(leave_job)
    pool.run_until_idle(timeout=PATIENCE_SECONDS)
    dead = store.jobs(JobState.DEAD)
    assert [job.history[0].error_type for job in dead] == [type(error).__name__] * 3
    assert pool.exit_code == 0


def test_what_a_handler_returns_need_not_be_json(store: Store, make_pool: MakePool) -> None:
    object_job = handler(_return_an_object)
    store.enqueue(object_job)
    make_pool(object_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert store.is_empty()


def _return_an_object() -> object:
    return object()


def test_each_run_has_a_fresh_context(store: Store, make_pool: MakePool) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="fresh")
    seen: list[str] = []

    def note() -> None:
        seen.append(variable.get())
        variable.set("used")

    note_job = handler(note)
    for _ in range(3):
        store.enqueue(note_job)
    make_pool(note_job, threads=1).run_until_idle(timeout=PATIENCE_SECONDS)
    assert seen == ["fresh"] * 3


def test_arguments_that_do_not_fit_are_a_failure_that_names_them(store: Store, make_pool: MakePool) -> None:
    def add(number: int) -> None:
        raise AssertionError("must not run")

    job_id = store.put("add", body=body_of({"number": "many"}), max_retries=0)
    make_pool(handler(add)).run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert record.state is JobState.DEAD
    assert record.history[0].error_type == PayloadError.__name__
    assert "number" in (record.history[0].error_message or "")


def test_a_body_that_is_no_envelope_goes_to_the_dead_letters(store: Store, make_pool: MakePool) -> None:
    job_id = store.put(body=b"not json")
    make_pool(handler(_work, name="work")).run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert record.state is JobState.DEAD
    assert "not a wg envelope" in (record.history[0].error_message or "")


def _work() -> None:
    pass


@pytest.fixture
def long_bounces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that nobody here can run does not come back during the test."""
    monkeypatch.setattr("wg_core.backoff.BOUNCE_FIRST_SECONDS", 600.0)
    monkeypatch.setattr("wg_core.backoff.BOUNCE_CAP_SECONDS", 600.0)


@pytest.mark.usefixtures("long_bounces")
def test_a_newer_envelope_is_left_to_newer_workers(store: Store, make_pool: MakePool) -> None:
    job_id = store.put(body=b'{"v":2,"args":[],"else":1}')
    make_pool(handler(_work, name="work")).run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert (record.state, record.bounces, record.attempt) == (JobState.SCHEDULED, 1, 0)


@pytest.mark.usefixtures("long_bounces")
def test_a_job_without_a_handler_is_left_to_other_workers(
    store: Store, make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = store.put("unheard_of", queue="mail")
    make_pool(handler(_work, name="work")).run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert (record.state, record.bounces, record.attempt) == (JobState.SCHEDULED, 1, 0)
    assert f"job {job_id} unheard_of [mail] attempt 1/4: no handler named 'unheard_of'" in caplog.text


@pytest.mark.usefixtures("long_bounces")
def test_a_backlog_that_cannot_run_here_is_one_line_in_the_log_for_each_name(
    store: Store, make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        store.put("unknown")
        store.put("strange")
    with make_pool(threads=1):  # two may tell the same at once
        eventually(lambda: len(store.jobs(JobState.SCHEDULED)) == 60)
    warnings = [record.getMessage() for record in caplog.records if "no handler named" in record.getMessage()]
    assert len(warnings) == 2
    assert {"unknown" in line for line in warnings} == {True, False}


def test_a_job_that_nobody_can_run_ends_in_the_dead_letters_with_the_reason(store: Store, make_pool: MakePool) -> None:
    job_id = store.put("unheard_of")
    with make_pool(handler(_work, name="work")):
        for bounces in range(1, MOST_BOUNCES + 1):
            eventually(lambda bounces=bounces: (store.record(job_id) or 0).bounces >= bounces)  # type: ignore[union-attr]
            eventually(lambda: store.state(job_id) is not JobState.RUNNING)
            requeue_keeping_bounces(store, job_id)
        eventually(lambda: store.state(job_id) is JobState.DEAD)
    record = store.record(job_id)
    assert record is not None
    assert "no handler named 'unheard_of'" in (record.history[0].error_message or "")
    assert f"given back {MOST_BOUNCES} times" in (record.history[0].error_message or "")


def requeue_keeping_bounces(store: Store, job_id: str) -> None:
    """Promote the job as if its delay were over."""
    record = store.record(job_id)
    if record is not None and record.state is JobState.SCHEDULED:
        store.backend.inner.promote(10, now=(record.run_at or 0) + 1)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # what it is about, from Python 3.12 on
def test_a_handler_that_forks_does_not_make_a_second_worker(store: Store, make_pool: MakePool, tmp_path: Any) -> None:
    runs = tmp_path / "runs"

    def fork() -> None:
        child = os.fork()
        with runs.open("a") as file:
            file.write(f"{child == 0}\n")
        if child:
            os.waitpid(child, 0)

    fork_job = handler(fork)
    store.enqueue(fork_job)
    make_pool(fork_job, threads=1).run_until_idle(timeout=PATIENCE_SECONDS)
    assert sorted(runs.read_text().split()) == ["False", "True"]
    assert store.is_empty()


def test_what_a_failed_handler_used_is_free_at_once(store: Store, make_pool: MakePool) -> None:
    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    def fail() -> None:
        big = Big()
        alive.append(weakref.ref(big))
        raise ValueError("no")

    fail_job = handler(fail, max_retries=0)
    store.enqueue(fail_job)
    gc.disable()
    try:
        make_pool(fail_job).run_until_idle(timeout=PATIENCE_SECONDS)
        assert alive[0]() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- life of the pool


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_pool_that_was_made_before_a_fork_works_in_the_child_under_an_id_of_its_own(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    def write() -> None:
        ran.write_text(str(os.getpid()))

    write_job = handler(write)
    pool = WorkerPool(url="memory:", namespace="forked", handlers=[write_job])
    made_as = pool.worker_id
    child = os.fork()
    if child == 0:
        try:
            with pool:
                write_job.enqueue()
                pool.run_until_idle(timeout=PATIENCE_SECONDS)
                os._exit(0 if pool.worker_id != made_as and str(os.getpid()) in pool.worker_id else 3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert ran.read_text() == str(child)


def test_stop_and_join_may_come_before_start_and_twice(make_pool: MakePool) -> None:
    pool = make_pool(handler(_work))
    assert pool.join()
    pool.start()
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    pool.stop()
    assert pool.join(PATIENCE_SECONDS)
    assert pool.stopped


def test_a_pool_that_was_stopped_before_it_started_ends_at_once(store: Store, make_pool: MakePool) -> None:
    work = handler(_work)
    store.enqueue(work)
    pool = make_pool(work)
    pool.stop()
    assert pool.run() == 0
    assert len(store.jobs(JobState.READY)) == 1
    assert not store.backend.workers()


def test_a_pool_lives_once(make_pool: MakePool) -> None:
    pool = make_pool(handler(_work))
    pool.start()
    with pytest.raises(WgError, match="started before"):
        pool.start()


def test_a_backend_and_a_url_exclude_each_other(backend: FaultyBackend) -> None:
    with pytest.raises(ConfigError, match="either a backend or a url"):
        WorkerPool(backend=backend, url="memory:")


def test_wrong_settings_are_refused_at_once(backend: FaultyBackend) -> None:
    with pytest.raises(ConfigError, match="threads"):
        WorkerPool(backend=backend, threads=0)
    with pytest.raises(ConfigError, match="unknown worker setting 'thraeds'"):
        WorkerPool(backend=backend, thraeds=1)


def test_a_pool_with_a_url_closes_what_it_opened(namespace: str) -> None:
    pool = WorkerPool(url="memory:", namespace=namespace, handlers=[handler(_work)])
    pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert pool.stopped
    with pytest.raises(WgError, match="closed"):
        pool._backend.stats()


def test_a_pool_that_ended_leaves_nothing_in_the_store_and_no_thread(store: Store, make_pool: MakePool) -> None:
    before = set(threading.enumerate())
    work = handler(_work)
    for _ in range(20):
        store.enqueue(work)
    make_pool(work).run_until_idle(timeout=PATIENCE_SECONDS)
    assert not store.backend.workers()
    assert store.is_empty()
    assert set(threading.enumerate()) <= before


def test_a_refused_registration_is_raised_by_start(make_pool: MakePool, backend: FaultyBackend) -> None:
    pool = make_pool(handler(_work))
    backend.close()
    backend.inner.beat = _refuse  # type: ignore[method-assign]
    with pytest.raises(WgError, match="no rights"):
        pool.start()
    assert pool.join(PATIENCE_SECONDS)


def _refuse(*_: Any, **__: Any) -> Any:
    raise BackendRejectedError("no rights")


# ---------------------------------------------------------------------- idle and burst


def test_a_retry_that_is_due_later_does_not_keep_the_pool_from_being_idle(store: Store, make_pool: MakePool) -> None:
    def fail() -> None:
        raise ValueError("no")

    fail_job = handler(fail, retry_delay=600)
    store.enqueue(fail_job)
    make_pool(fail_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert len(store.jobs(JobState.RETRY)) == 1


def test_jobs_that_enqueue_jobs_are_waited_for(store: Store, make_pool: MakePool) -> None:
    seen: list[int] = []

    def chain(number: int) -> None:
        seen.append(number)
        if number:
            store.enqueue(chain_job, number - 1)

    chain_job = handler(chain)
    store.enqueue(chain_job, 30)
    make_pool(chain_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert seen == list(range(30, -1, -1))


def test_a_pool_that_is_not_idle_in_time_says_what_was_left(store: Store, make_pool: MakePool) -> None:
    began, release = threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        assert release.wait(PATIENCE_SECONDS)

    block_job = handler(block)
    store.enqueue(block_job)
    with make_pool(block_job) as pool:
        assert began.wait(PATIENCE_SECONDS)
        with pytest.raises(NotIdleError, match=r"not idle after 0.2 s: 1 jobs are held") as caught:
            pool.run_until_idle(timeout=0.2)
        assert isinstance(caught.value, TimeoutError)
        release.set()
        pool.run_until_idle(timeout=PATIENCE_SECONDS)


def test_a_job_that_another_worker_runs_is_waited_for(store: Store, make_pool: MakePool) -> None:
    other = store.lease("other")
    store.hold(other, id="theirs")
    with make_pool(handler(_work)) as pool:
        with pytest.raises(NotIdleError, match="1 are running"):
            pool.run_until_idle(timeout=0.2)
        store.backend.retire("other", [], "test")
    assert store.state("theirs") in (JobState.READY, JobState.SCHEDULED)


def test_jobs_of_paused_or_foreign_queues_are_not_waited_for(store: Store, make_pool: MakePool) -> None:
    store.put(queue="paused")
    store.put(queue="foreign")
    store.backend.pause("paused")
    make_pool(handler(_work), queues=["paused", "mail"]).run_until_idle(timeout=PATIENCE_SECONDS)
    assert len(store.jobs(JobState.READY)) == 2


def test_a_burst_ends_by_itself_when_nothing_is_left(store: Store, make_pool: MakePool) -> None:
    work = handler(_work)
    for _ in range(100):
        store.enqueue(work)
    assert make_pool(work, burst=True).run() == 0
    assert store.is_empty()
