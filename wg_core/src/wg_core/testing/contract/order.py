"""Who comes first. Invariant 5: strict priority, first in first out within, also after a release."""

from __future__ import annotations

from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Worker, new_job


def test_jobs_of_one_priority_come_first_in_first_out(put: Producer, worker: Worker) -> None:
    ids = [f"{number * 7 % 50}" for number in range(50)]  # neither the order of ids nor of insertion into a hash
    put(*ids[:20])
    put(*ids[20:])
    assert worker.reserve_ids() == ids


def test_jobs_enqueued_in_one_millisecond_by_many_calls_keep_their_order(put: Producer, worker: Worker) -> None:
    ids = [f"{number * 7 % 50}" for number in range(50)]
    for job_id in ids:
        put(job_id)
    assert worker.reserve_ids() == ids


def test_order_does_not_follow_the_clock_when_it_is_set_back(put: Producer, worker: Worker, clock: Clock) -> None:
    put("first")
    clock.advance(-5.0)
    put("second")
    clock.advance(10.0)
    assert worker.reserve_ids() == ["first", "second"]


def test_higher_priority_comes_first_whatever_was_enqueued_first(put: Producer, worker: Worker) -> None:
    for priority in (0, -100, 5, 100, -1, 10):
        put(f"{priority}", f"{priority}-again", priority=priority)
    expected = [f"{priority}{again}" for priority in (100, 10, 5, 0, -1, -100) for again in ("", "-again")]
    assert worker.reserve_ids() == expected


def test_a_small_limit_takes_the_best_jobs_and_leaves_the_others_in_order(put: Producer, worker: Worker) -> None:
    put("low-1", "low-2", priority=-1)
    put("high-1", "high-2", "high-3", priority=1)
    assert worker.reserve_ids(2) == ["high-1", "high-2"]
    put("highest", priority=2)
    assert worker.reserve_ids(2) == ["highest", "high-3"]
    assert worker.reserve_ids(2) == ["low-1", "low-2"]


def test_queues_are_served_in_the_order_in_which_they_are_listed(put: Producer, worker: Worker) -> None:
    put("b1", "b2", queue="b", priority=100)
    put("a1", "a2", queue="a", priority=-100)
    put("c1", queue="c")
    assert worker.reserve_ids(3, queues=["a", "b"]) == ["a1", "a2", "b1"]
    assert worker.reserve_ids(3, queues=["c", "b"]) == ["c1", "b2"]


def test_only_the_listed_queues_are_served(put: Producer, worker: Worker) -> None:
    put("a1", queue="a")
    put("b1", queue="b")
    assert worker.reserve_ids(queues=["b", "unknown"]) == ["b1"]
    assert worker.reserve_ids(queues=["b"]) == []


def test_no_list_means_every_queue_also_those_that_appear_later(put: Producer, worker: Worker) -> None:
    put("a1", queue="a")
    assert worker.reserve_ids() == ["a1"]
    put("z1", queue="z")
    put("0", queue="0")
    assert sorted(worker.reserve_ids()) == ["0", "z1"]


def test_no_list_takes_whole_queues_in_their_own_order(put: Producer, worker: Worker) -> None:
    for queue in ("a", "b", "c"):
        put(f"{queue}-low", queue=queue, priority=-1)
        put(f"{queue}-high", queue=queue, priority=1)
    ids = worker.reserve_ids()
    assert [job_id[2:] for job_id in ids] == ["high", "low"] * 3
    assert sorted(job_id[0] for job_id in ids) == list("aabbcc")


def test_with_no_list_no_queue_starves_behind_a_long_one(put: Producer, worker: Worker) -> None:
    put.all([new_job(f"{queue}{number}", queue=queue) for queue in "abcd" for number in range(8)])
    first_four = [worker.take().queue for _ in range(4)]
    assert sorted(first_four) == ["a", "b", "c", "d"]


def test_a_released_job_comes_back_where_it_stood(put: Producer, worker: Worker, new_worker: NewWorker) -> None:
    put("a", "b", "c")
    put("urgent", priority=1)
    urgent, first = worker.reserve(2)
    put("d")
    worker.release(first)
    worker.release(urgent)
    assert new_worker().reserve_ids() == ["urgent", "a", "b", "c", "d"]


def test_a_batch_of_released_jobs_comes_back_in_its_old_order(put: Producer, worker: Worker) -> None:
    ids = [f"{number}" for number in range(10)]
    put(*ids)
    for job in reversed(worker.reserve(6)):
        worker.release(job)
    assert worker.reserve_ids() == ids
