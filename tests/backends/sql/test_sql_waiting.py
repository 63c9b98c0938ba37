"""The waiter that polls: when it looks, and what ends a wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from wg_core.errors import BackendUnavailableError
from wg_core.sql import Bell, PollingWaiter, Queues

PATIENCE_SECONDS = 30.0
A_MOMENT = 0.05


class Store:
    """Answers the waiter's two questions, and lets a test see that they were asked."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.commits = 0
        self.ready = False
        self.looks: list[Queues] = []
        self.polled = threading.Event()
        self.pollers: set[int] = set()
        """The threads that wait, once they look."""
        self.broken = False

    def version(self) -> int:
        self.polled.set()
        self.pollers.add(threading.get_ident())
        if self.broken:
            raise BackendUnavailableError("gone")
        return self.commits

    def has_ready(self, queues: Queues) -> bool:
        self.looks.append(queues)
        return self.ready

    def waiter(self, *, polls: bool = True) -> PollingWaiter:
        return PollingWaiter(lambda: self.bell, self.has_ready, self.version if polls else None, polls=polls)


@pytest.fixture
def store() -> Store:
    return Store()


def start(waiter: PollingWaiter, timeout_seconds: float = PATIENCE_SECONDS) -> threading.Thread:
    thread = threading.Thread(target=waiter.wait, args=(["mail"], timeout_seconds), daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_SECONDS / 2)
    return not thread.is_alive()


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    return condition()


def test_a_wait_ends_at_once_when_a_job_is_ready(store: Store) -> None:
    store.ready = True
    assert ended(start(store.waiter()))
    assert store.looks == [["mail"]]


def test_a_wait_ends_at_its_timeout(store: Store) -> None:
    assert ended(start(store.waiter(), A_MOMENT))
    assert ended(start(store.waiter(polls=False), A_MOMENT))


def test_a_commit_of_somebody_else_is_looked_at_and_only_a_ready_job_ends_the_wait(store: Store) -> None:
    thread = start(store.waiter())
    assert store.polled.wait(PATIENCE_SECONDS)
    store.commits += 1
    store.polled.clear()
    assert store.polled.wait(PATIENCE_SECONDS)
    thread.join(A_MOMENT)
    assert thread.is_alive()
    store.ready = True
    store.commits += 1
    assert ended(thread)


def test_without_a_commit_the_store_is_not_asked_again(store: Store) -> None:
    assert ended(start(store.waiter(), A_MOMENT))
    assert len(store.looks) == 1


def test_where_nothing_tells_of_commits_the_store_is_asked_again_and_again(store: Store) -> None:
    waiter = PollingWaiter(lambda: store.bell, store.has_ready, shortest_pause=0.001, longest_pause=0.002)
    thread = start(waiter)
    assert until(lambda: len(store.looks) > 2)
    store.ready = True
    assert ended(thread)


def test_the_bell_of_the_process_is_heard_without_polling(store: Store) -> None:
    waiter, neighbour = store.waiter(polls=False), store.waiter(polls=False)
    thread = start(waiter)
    store.ready = True
    neighbour.notify({"mail"})
    assert ended(thread)


def test_an_interrupt_ends_the_wait_that_is_going_on(store: Store) -> None:
    waiter = store.waiter()
    thread = start(waiter)
    assert store.polled.wait(PATIENCE_SECONDS)
    waiter.interrupt()
    assert ended(thread)


def test_an_interrupt_waits_for_the_next_wait_and_is_used_up_by_it(store: Store) -> None:
    waiter = store.waiter()
    waiter.interrupt()
    assert ended(start(waiter))
    store.polled.clear()
    second = start(waiter)
    assert store.polled.wait(PATIENCE_SECONDS)
    second.join(A_MOMENT)
    assert second.is_alive()
    waiter.interrupt()
    assert ended(second)


def test_an_interrupt_is_for_its_own_instance_only(store: Store) -> None:
    waiter, neighbour = store.waiter(), store.waiter()
    thread = start(waiter)
    neighbour.interrupt()
    thread.join(A_MOMENT)
    assert thread.is_alive()
    waiter.interrupt()
    assert ended(thread)


def test_close_ends_every_wait_and_refuses_later_ones(store: Store) -> None:
    waiter = store.waiter()
    threads = [start(waiter), start(waiter)]
    assert until(lambda: len(store.pollers) == len(threads))
    waiter.close()
    assert all(ended(thread) for thread in threads)
    with pytest.raises(BackendUnavailableError, match="was closed"):
        waiter.wait(None, PATIENCE_SECONDS)


def test_a_store_that_is_away_ends_the_wait_after_a_pause_that_an_interrupt_cuts_short(store: Store) -> None:
    store.broken = True
    assert ended(start(store.waiter(), A_MOMENT))
    waiter = store.waiter()
    waiter.interrupt()
    assert ended(start(waiter))
