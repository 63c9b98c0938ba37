"""What the conformance suite does not ask: stores by URL, forks, clearing."""

from __future__ import annotations

import os
import threading
import uuid
import warnings

import pytest

from wg_core import memory
from wg_core.errors import ConfigError
from wg_core.job import JobState, NewJob
from wg_core.memory import MemoryBackend
from wg_core.protocol import JobFilter, WorkerBeat
from wg_core.registry import open_backend


def new_job(job_id: str) -> NewJob:
    return NewJob(id=job_id, name="work", body=b"{}")


@pytest.fixture
def namespace() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def test_each_url_and_namespace_is_a_store_of_its_own(namespace: str) -> None:
    plain, again = open_backend("memory:", namespace=namespace), open_backend("memory:", namespace=namespace)
    named, elsewhere = open_backend("memory:name", namespace=namespace), open_backend("memory:", namespace="other")
    plain.enqueue([new_job("a")])
    assert [len(backend.get(["a"])) for backend in (plain, again, named, elsewhere)] == [1, 1, 0, 0]


def test_jobs_outlive_the_backends_that_were_closed(namespace: str) -> None:
    with open_backend("memory:", namespace=namespace) as backend:
        backend.enqueue([new_job("a")])
    with open_backend("memory:", namespace=namespace) as backend:
        assert len(backend.get(["a"])) == 1


def test_clear_forgets_everything_and_open_backends_go_on(namespace: str) -> None:
    backend = open_backend("memory:", namespace=namespace)
    backend.enqueue([new_job("a")])
    backend.beat([WorkerBeat(worker="w", lease_seconds=30.0, first=True)])
    memory.clear(namespace=namespace)
    assert (backend.get(["a"]), backend.workers(), backend.stats().queues) == ([], [], {})
    backend.enqueue([new_job("a")])


@pytest.mark.parametrize("url", ["memory:?size=3", "memory:name?x"])
def test_options_in_the_url_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="memory: takes no options"):
        MemoryBackend.open(url, "wg")


def test_the_child_of_a_fork_starts_with_an_empty_store_whoever_held_the_lock(namespace: str) -> None:
    backend = MemoryBackend.open("memory:", namespace)
    backend.enqueue([new_job("a")])
    with backend._store.changed, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if backend.find(JobFilter(state=JobState.READY)).jobs == () else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(backend.get(["a"])) == 1


def test_find_looks_at_a_bounded_number_of_jobs_and_hands_out_a_cursor(namespace: str) -> None:
    backend = MemoryBackend.open("memory:", namespace)
    for start in range(0, 3_000, 1_000):
        backend.enqueue([new_job(f"{number}") for number in range(start, start + 1_000)])
    page = backend.find(JobFilter(state=JobState.READY, name="nobody"))
    assert (page.jobs, page.cursor is None) == ((), False)


def test_a_thread_that_waits_does_not_keep_others_out(namespace: str) -> None:
    backend = MemoryBackend.open("memory:", namespace)
    thread = threading.Thread(target=backend.wait, args=(None, 60.0))
    thread.start()
    backend.enqueue([new_job("a")])
    thread.join(10)
    assert not thread.is_alive()
