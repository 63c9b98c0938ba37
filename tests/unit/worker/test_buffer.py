from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually, reserved
from wg_core._buffer import JobBuffer
from wg_core._held import HeldJob, Lease


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.lease()


def jobs(lease: Lease, *ids: str, crashes: int = 0) -> list[HeldJob]:
    return [HeldJob(reserved(id=one, crashes=crashes), lease) for one in ids]


def ids(held: list[HeldJob]) -> list[str]:
    return [one.job.id for one in held]


def test_jobs_come_out_in_the_order_they_went_in(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.put(jobs(lease, "a", "b", "c"))
    assert [buffer.take().job.id for _ in range(3)] == ["a", "b", "c"]  # type: ignore[union-attr]


def test_a_thread_that_waits_gets_the_job_that_comes(lease: Lease) -> None:
    buffer = JobBuffer()
    with ThreadPoolExecutor() as threads:
        taken = threads.submit(buffer.take)
        eventually(lambda: buffer.idle == 1)
        buffer.put(jobs(lease, "a"))
        held = taken.result(PATIENCE_SECONDS)
    assert held is not None
    assert held.job.id == "a"
    assert buffer.idle == 0


def test_every_waiting_thread_gets_its_job(lease: Lease) -> None:
    buffer = JobBuffer()
    with ThreadPoolExecutor(8) as threads:
        taken = [threads.submit(buffer.take) for _ in range(8)]
        eventually(lambda: buffer.idle == 8)
        buffer.put(jobs(lease, *"abcdefgh"))
        got = {one.result(PATIENCE_SECONDS).job.id for one in taken}  # type: ignore[union-attr]
    assert got == set("abcdefgh")


def test_closing_returns_what_waited_and_ends_every_take(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.put(jobs(lease, "a", "b"))
    buffer.put(jobs(lease, "s", crashes=1))
    assert sorted(ids(buffer.close())) == ["a", "b", "s"]
    assert buffer.take() is None
    assert not buffer.put(jobs(lease, "late"))
    assert buffer.take() is None


def test_closing_wakes_the_threads_that_wait() -> None:
    buffer = JobBuffer()
    with ThreadPoolExecutor(2) as threads:
        taken = [threads.submit(buffer.take) for _ in range(2)]
        eventually(lambda: buffer.idle == 2)
        buffer.close()
        assert [one.result(PATIENCE_SECONDS) for one in taken] == [None, None]


def test_suspects_are_handed_out_one_at_a_time(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.put(jobs(lease, "s1", "s2", crashes=1))
    buffer.put(jobs(lease, "a"))
    assert ids([buffer.take(), buffer.take()]) == ["s1", "a"]  # type: ignore[list-item]
    assert buffer.suspects_waiting == 1
    assert buffer.suspect_runs_for() is not None
    buffer.suspect_is_over()
    assert ids([buffer.take()]) == ["s2"]  # type: ignore[list-item]


def test_the_next_suspect_wakes_a_thread_when_the_one_before_is_over(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.put(jobs(lease, "s1", "s2", crashes=1))
    assert buffer.take() is not None
    with ThreadPoolExecutor(1) as threads:
        taken = threads.submit(buffer.take)
        eventually(lambda: buffer.idle == 1)
        buffer.suspect_is_over()
        held = taken.result(PATIENCE_SECONDS)
    assert held is not None
    assert held.job.id == "s2"


def test_the_last_jobs_are_taken_back_first(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.put(jobs(lease, "a", "b", "c"))
    buffer.put(jobs(lease, "s1", "s2", crashes=1))
    assert ids(buffer.remove(2)) == ["c", "b"]
    assert ids(buffer.remove_suspects(1)) == ["s2"]
    assert ids(buffer.remove(9)) == ["a"]


def test_the_fetcher_is_called_at_the_low_mark_and_not_before(lease: Lease) -> None:
    buffer = JobBuffer()
    buffer.low_mark = 1
    buffer.put(jobs(lease, "a", "b", "c"))
    buffer.take()
    assert not buffer.hungry.is_set()
    buffer.take()
    assert buffer.hungry.is_set()


def test_no_job_is_handed_out_twice_or_left_among_many_threads(lease: Lease) -> None:
    buffer = JobBuffer()
    taken: list[str] = []

    def work() -> None:
        while (held := buffer.take()) is not None:
            taken.append(held.job.id)
            if held.is_suspect:
                buffer.suspect_is_over()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    expected = []
    for batch in range(100):
        names = [f"{batch}-{number}" for number in range(20)]
        buffer.put(jobs(lease, *names, crashes=int(batch % 10 == 0)))
        expected += names
    eventually(lambda: len(taken) == len(expected))
    buffer.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert sorted(taken) == sorted(expected)
