"""Waiting for work. A wait is a hint: it may return early, but work ends it, and so does its time."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from wg_core.backend import Backend
from wg_core.errors import BackendUnavailableError
from wg_core.job import JobState
from wg_core.outcome import Release
from wg_core.protocol import Capability, RequeueJobs, WorkerBeat
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import PATIENCE_SECONDS, Producer, Reaper, Worker, new_job
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend

LONG_SECONDS = 10 * PATIENCE_SECONDS
"""A wait that only its own time ends would outlast the patience of the test."""


class Waiter:
    """A worker in a thread that waits for work and reserves it, on the store's own clock."""

    def __init__(self, backend: Backend, queues: list[str] | None) -> None:
        self._backend, self._queues = backend, queues
        self._id = f"waiter-{uuid.uuid4().hex}"
        self._found, self._over = threading.Event(), threading.Event()
        backend.beat([WorkerBeat(worker=self._id, lease_seconds=LONG_SECONDS, first=True)])
        self._thread = threading.Thread(target=self._run, name="waiter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        request_no = 0
        while not self._over.is_set() and not self._found.is_set():
            self._backend.wait(self._queues, LONG_SECONDS)
            request_no += 1
            if self._backend.reserve(self._queues, 1, self._id, request_no=request_no):
                self._found.set()

    def assert_finds_work(self) -> None:
        """Assert that a job reaches the waiter long before its wait would have ended by itself."""
        assert self._found.wait(PATIENCE_SECONDS), "the wait did not end though there was work"

    def stop(self) -> None:
        """End the wait."""
        self._over.set()
        self._backend.interrupt()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "interrupt did not end the wait"


@contextmanager
def waiting(backend: Backend, queues: list[str] | None = None) -> Iterator[Waiter]:
    """Let a waiter wait for the time of the block."""
    waiter = Waiter(backend, queues)
    try:
        yield waiter
    finally:
        waiter.stop()


def returns_in_time(call: Callable[[], None]) -> bool:
    """Tell whether a call returns before the patience of the test is over."""
    thread = threading.Thread(target=call, name="caller", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return not thread.is_alive()


def test_a_wait_ends_when_its_time_is_over(backend: Backend) -> None:
    assert returns_in_time(lambda: backend.wait(None, 0.05))
    assert returns_in_time(lambda: backend.wait(["a", "b"], 0.05))


@pytest.mark.parametrize("timeout_seconds", [0.0, 0.001, 0.3, 0.999])
def test_a_wait_below_one_second_is_not_for_ever(backend: Backend, timeout_seconds: float) -> None:
    assert returns_in_time(lambda: backend.wait(None, timeout_seconds))


@pytest.mark.parametrize("interrupted", [False, True], ids=["", "after an interrupt"])
def test_a_wait_of_an_idle_worker_does_not_spin(backend: Backend, *, interrupted: bool) -> None:
    if interrupted:
        backend.interrupt()
    rounds, until = 0, time.monotonic() + 1.0
    while time.monotonic() < until:
        backend.wait(None, 0.25)
        rounds += 1
    assert rounds < 100, "a wait may return early, but an idle worker must not burn a processor"


@pytest.mark.parametrize("queues", [None, ["mail"], ["other", "mail"]], ids=["every", "one", "two"])
def test_a_wait_ends_when_a_job_is_enqueued(
    backend: Backend, open_backend: OpenBackend, queues: list[str] | None
) -> None:
    with waiting(backend, queues) as waiter:
        open_backend().enqueue([new_job("a", queue="mail")])
        waiter.assert_finds_work()


def test_a_wait_does_not_sleep_through_work_that_was_there_before(backend: Backend) -> None:
    backend.enqueue([new_job("a")])
    assert returns_in_time(lambda: backend.wait(["default"], LONG_SECONDS))
    assert returns_in_time(lambda: backend.wait(None, LONG_SECONDS))


def test_a_wait_ends_when_a_job_is_given_back(put: Producer, worker: Worker, open_backend: OpenBackend) -> None:
    put("a")
    job = worker.take("a")
    with waiting(open_backend()) as waiter:
        worker.applied(Release(id="a", lease_no=job.lease_no))
        waiter.assert_finds_work()


def test_a_wait_ends_when_a_job_is_promoted(
    put: Producer, worker: Worker, open_backend: OpenBackend, backend: Backend, *, clock: Clock
) -> None:
    put("a")
    worker.retry(worker.take("a"), delay_seconds=5.0)
    with waiting(open_backend()) as waiter:
        assert backend.promote(10, now=clock.ahead(5.0)).moved == 1
        waiter.assert_finds_work()


def test_a_wait_ends_when_a_job_is_taken_from_a_dead_worker(
    put: Producer, worker: Worker, reaper: Reaper, open_backend: OpenBackend
) -> None:
    put("a")
    worker.take("a")
    with waiting(open_backend()) as waiter:
        reaper.killed(worker)
        waiter.assert_finds_work()


@requires(Capability.PAUSE)
def test_a_wait_ends_when_a_queue_is_resumed(backend: Backend, open_backend: OpenBackend) -> None:
    backend.pause("default")
    backend.enqueue([new_job("a")])
    with waiting(open_backend(), ["default"]) as waiter:
        backend.resume("default")
        waiter.assert_finds_work()


@requires(Capability.ALTER)
def test_a_wait_ends_when_a_dead_job_is_requeued(
    put: Producer, worker: Worker, open_backend: OpenBackend, backend: Backend
) -> None:
    put("a")
    worker.bury(worker.take("a"))
    with waiting(open_backend()) as waiter:
        assert backend.alter(["a"], RequeueJobs(), expected=frozenset({JobState.DEAD})).changed == ("a",)
        waiter.assert_finds_work()


def test_every_waiter_of_several_finds_a_job(backend: Backend, open_backend: OpenBackend) -> None:
    waiters = [Waiter(open_backend(), None) for _ in range(4)]
    try:
        backend.enqueue([new_job(f"{number}") for number in range(4)])
        for waiter in waiters:
            waiter.assert_finds_work()
    finally:
        for waiter in waiters:
            waiter.stop()


def test_an_interrupt_before_the_wait_ends_it_at_once(backend: Backend) -> None:
    backend.interrupt()
    assert returns_in_time(lambda: backend.wait(None, LONG_SECONDS))


def test_an_interrupt_ends_the_wait_that_is_going_on(backend: Backend) -> None:
    for _ in range(3):
        thread = threading.Thread(target=backend.wait, args=(["default"], LONG_SECONDS), name="waiter", daemon=True)
        thread.start()
        backend.interrupt()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_an_interrupt_of_one_instance_leaves_the_others_alone(backend: Backend, open_backend: OpenBackend) -> None:
    open_backend().interrupt()
    with waiting(backend) as waiter:
        backend.enqueue([new_job("a")])
        waiter.assert_finds_work()


def test_closing_ends_the_wait(open_backend: OpenBackend) -> None:
    backend = open_backend()
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        with contextlib.suppress(BackendUnavailableError):  # when the close came first
            backend.wait(None, LONG_SECONDS)

    thread = threading.Thread(target=wait, name="waiter", daemon=True)
    thread.start()
    assert entered.wait(PATIENCE_SECONDS)
    threading.Event().wait(0.1)  # most likely it waits by now
    backend.close()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
