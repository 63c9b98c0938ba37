"""What `current_job()` tells a handler."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually, handler
from wg_core import WorkerPool
from wg_core._timeouts import Grace
from wg_core.context import CurrentJob, current_job
from wg_core.errors import JobCancelled, JobTimeout, NoCurrentJobError, PayloadError
from wg_core.job import JobState
from wg_core.protocol import CancelJobs

MakePool = Callable[..., WorkerPool]


def run_inside(store: Store, make_pool: MakePool, look: Callable[[CurrentJob], Any], **options: Any) -> Any:
    """Return what `look` sees from inside a handler."""
    seen: list[Any] = []

    def inside() -> None:
        seen.append(look(current_job()))

    inside_job = handler(inside, name="inside")
    store.enqueue(inside_job, **options)
    make_pool(inside_job, threads=1).run_until_idle(timeout=PATIENCE_SECONDS)
    (one,) = seen
    return one


def test_outside_a_handler_there_is_no_current_job() -> None:
    with pytest.raises(NoCurrentJobError):
        current_job()


def test_the_job_knows_what_it_is(store: Store, make_pool: MakePool) -> None:
    def look(job: CurrentJob) -> tuple[Any, ...]:
        return job.id, job.name, job.queue, job.attempt, job.max_retries, job.lease_no, job.fencing

    seen = run_inside(store, make_pool, look, id="7f3a", queue="mail", max_retries=5)
    assert seen == ("7f3a", "inside", "mail", 1, 5, 1, ("7f3a", 1))


def test_times_are_milliseconds_and_seconds_left(store: Store, make_pool: MakePool) -> None:
    def look(job: CurrentJob) -> tuple[int, float | None, float | None]:
        return job.enqueued_at, job.time_left, job.deadline

    enqueued_at, time_left, deadline = run_inside(store, make_pool, look, timeout=60)
    assert abs(enqueued_at / 1_000 - time.time()) < 60
    assert 0 < time_left <= 60
    assert deadline is not None


def test_a_job_without_a_timeout_has_no_deadline(store: Store, make_pool: MakePool) -> None:
    seen = run_inside(store, make_pool, lambda job: (job.time_left, job.deadline, job.check()), timeout=None)
    assert seen == (None, None, None)


def test_a_thread_of_the_handler_does_not_inherit_the_job_but_may_be_given_it(
    store: Store, make_pool: MakePool
) -> None:
    def look(job: CurrentJob) -> list[Any]:
        seen: list[Any] = []

        def in_thread() -> None:
            seen.append(job.id)
            try:
                current_job()
            except NoCurrentJobError:
                seen.append("none")

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        return seen

    assert run_inside(store, make_pool, look, id="7f3a") == ["7f3a", "none"]


def test_log_lines_begin_with_the_job_and_carry_its_fields(
    store: Store, make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wg.job")

    def look(job: CurrentJob) -> None:
        job.logger.info("sent %d of %d, 100%%", 1, 2, extra={"mine": 1})
        job.logger.info("50% done")

    run_inside(store, make_pool, look, id="7f3a", queue="a%sb")
    first, second = (record for record in caplog.records if record.name == "wg.job")
    assert first.getMessage() == "job 7f3a inside [a%sb] attempt 1/4: sent 1 of 2, 100%"
    assert second.getMessage() == "job 7f3a inside [a%sb] attempt 1/4: 50% done"
    assert (first.job_id, first.job_name, first.queue, first.attempt) == ("7f3a", "inside", "a%sb", 1)  # type: ignore[attr-defined]
    assert first.mine == 1  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- progress


def test_progress_is_stored_while_the_job_runs(store: Store, make_pool: MakePool) -> None:
    release = threading.Event()

    def slow() -> None:
        for percent in range(101):
            current_job().progress({"percent": percent})
        assert release.wait(PATIENCE_SECONDS)

    slow_job = handler(slow)
    with make_pool(slow_job):
        job_id = store.enqueue(slow_job)
        eventually(lambda: getattr(store.record(job_id), "progress", None) == b'{"percent":100}')
        release.set()
        eventually(store.is_empty)


@pytest.mark.parametrize("value", [object(), {1j}, "x" * 70_000])
def test_progress_must_be_json_of_a_bounded_size(store: Store, make_pool: MakePool, value: Any) -> None:
    def look(job: CurrentJob) -> str:
        with pytest.raises(PayloadError, match="progress must be") as caught:
            job.progress(value)
        return str(caught.value)

    assert run_inside(store, make_pool, look)


# ---------------------------------------------------------------------- cancel


class Cancellable:
    """A handler that waits until it is cancelled, then ends in some way."""

    def __init__(self, end: Callable[[CurrentJob], None]) -> None:
        self.started = threading.Event()
        self.end = end

    def handler(self) -> None:
        job = current_job()
        job.check()
        self.started.set()
        eventually(lambda: job.cancelled)
        self.end(job)


def cancel_while_running(store: Store, make_pool: MakePool, end: Callable[[CurrentJob], None]) -> Store:
    cancellable = Cancellable(end)

    def body() -> None:
        cancellable.handler()

    body_job = handler(body)
    with make_pool(body_job) as pool:
        job_id = store.enqueue(body_job)
        assert cancellable.started.wait(PATIENCE_SECONDS)
        store.backend.alter([job_id], CancelJobs())
        pool.run_until_idle(timeout=PATIENCE_SECONDS)
    assert store.state(job_id) is None
    return store


def totals(store: Store) -> tuple[int, int]:
    stats = store.backend.stats().queues["default"]
    return stats.done, stats.cancelled


def test_a_running_handler_hears_of_a_cancel_and_ends_itself(store: Store, make_pool: MakePool) -> None:
    def end(job: CurrentJob) -> None:
        assert not job.lease_lost
        job.check()

    assert totals(cancel_while_running(store, make_pool, end)) == (0, 1)


def test_a_handler_that_fails_after_a_cancel_is_cancelled(store: Store, make_pool: MakePool) -> None:
    def end(_: CurrentJob) -> None:
        raise ValueError("in the clean-up")

    assert totals(cancel_while_running(store, make_pool, end)) == (0, 1)


def test_a_handler_that_finishes_in_spite_of_a_cancel_is_done(store: Store, make_pool: MakePool) -> None:
    assert totals(cancel_while_running(store, make_pool, lambda _: None)) == (1, 0)


def test_a_job_that_is_cancelled_while_it_waits_for_a_thread_never_runs(store: Store, make_pool: MakePool) -> None:
    ran = threading.Event()

    def work() -> None:
        ran.set()

    pool = make_pool(handler(work))
    store.lease(pool.worker_id)
    held = store.hold(pool._runtime.lease, id="one")
    held.cancelled = True
    pool._runtime.executors[0].run(held)
    pool._runtime.reporter.run_once()
    assert store.state("one") is None
    assert not ran.is_set()


def test_a_handler_may_cancel_itself(store: Store, make_pool: MakePool) -> None:
    def give_up() -> None:
        raise JobCancelled("nothing to do")

    give_up_job = handler(give_up)
    store.enqueue(give_up_job)
    make_pool(give_up_job).run_until_idle(timeout=PATIENCE_SECONDS)
    assert totals(store) == (0, 1)


def test_check_raises_when_the_time_is_over(store: Store, make_pool: MakePool) -> None:
    def patient() -> None:
        job = current_job()
        eventually(lambda: job.time_left == 0.0)
        job.check()

    patient_job = handler(patient, timeout=0.05, max_retries=0)
    job_id = store.enqueue(patient_job)
    make_pool(patient_job, _grace=Grace(cooperative=600.0)).run_until_idle(timeout=PATIENCE_SECONDS)
    record = store.record(job_id)
    assert record is not None
    assert record.state is JobState.DEAD
    assert record.history[0].error_type == JobTimeout.__name__
    assert record.history[0].error_message == "the timeout of 0.05 s passed; the handler stopped itself"
