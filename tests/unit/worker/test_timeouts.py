"""The steps of a timeout, with `run_once` called by hand and threads that really compute or block."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store, eventually
from wg_core._held import HeldJob
from wg_core._slot import Slot
from wg_core._timeouts import Grace, Timeouts
from wg_core.errors import JobTimeout


class Watched:
    """A slot whose handler runs in a thread of its own, and the duty that watches it."""

    def __init__(self, held: HeldJob, grace: Grace) -> None:
        self.held = held
        self.slot = Slot(0)
        self.stuck: list[tuple[Slot, HeldJob]] = []
        self.timeouts = Timeouts(lambda slot, held: self.stuck.append((slot, held)), grace)
        self.timeouts.slots = [self.slot]
        self.released = threading.Event()
        self.is_inside = False
        self.errors: list[BaseException | None] = []

    def run(self, body: Callable[[], Any], deadline: float) -> None:
        def live() -> None:
            self.slot.thread_id = threading.get_ident()
            self.errors.append(self.slot.guard(self.held, deadline, body))

        self.thread = threading.Thread(target=live)
        self.thread.start()
        eventually(lambda: self.slot.running or self.errors)

    def block(self) -> None:
        assert self.released.wait(PATIENCE_SECONDS)

    def compute(self) -> None:
        while not self.released.is_set():
            pass

    def withstand(self) -> None:
        try:
            self.is_inside = True
            self.compute()
        except JobTimeout:
            self.compute()

    def end(self) -> None:
        self.released.set()
        self.thread.join(PATIENCE_SECONDS)


@pytest.fixture
def watch(store: Store) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def watch(body: str, deadline: float, **grace: float) -> Watched:
        watched = Watched(store.hold(store.lease()), Grace(**grace))
        watched.run(getattr(watched, body), deadline)
        started.append(watched)
        return watched

    yield watch
    for watched in started:
        watched.end()


def ago(seconds: float) -> float:
    return time.monotonic() - seconds


def test_nothing_to_watch_means_no_looking() -> None:
    assert Timeouts(lambda *_: None).run_once() == math.inf


def test_a_job_without_a_timeout_is_left_alone(watch: Callable[..., Watched]) -> None:
    assert watch("block", math.inf).timeouts.run_once() == math.inf


def test_the_duty_sleeps_until_the_deadline_and_the_grace_after_it(watch: Callable[..., Watched]) -> None:
    watched = watch("block", time.monotonic() + 100, cooperative=70)
    assert 100 < watched.timeouts.run_once() <= 170


def test_at_the_deadline_the_handler_may_still_end_itself(watch: Callable[..., Watched]) -> None:
    watched = watch("block", ago(1), cooperative=600)
    assert watched.timeouts.run_once() > 500
    assert not watched.slot.has_raised


def test_after_the_grace_the_exception_is_raised_in_the_handler(watch: Callable[..., Watched]) -> None:
    watched = watch("compute", ago(1), cooperative=0.5, stuck=60)
    watched.timeouts.run_once()
    watched.thread.join(PATIENCE_SECONDS)
    assert [type(error).__mro__[1] for error in watched.errors] == [JobTimeout]
    assert not watched.stuck


def test_it_is_raised_again_for_a_handler_that_swallowed_it(watch: Callable[..., Watched], store: Store) -> None:
    tries: list[int] = []
    swallowed: list[BaseException] = []

    def swallow() -> None:
        for number in range(2):
            try:
                tries.append(number)
                while True:
                    pass
            except JobTimeout as error:
                swallowed.append(error)

    watched = Watched(store.hold(store.lease()), Grace(cooperative=0, between_raises=0.01, stuck=600))
    watched.run(swallow, ago(1))

    def raises() -> bool:
        watched.timeouts.run_once()
        return watched.slot.has_raised

    for number in (1, 2):
        eventually(lambda number=number: len(tries) == number)
        watched.slot.has_raised = False
        eventually(raises)
        eventually(lambda number=number: len(swallowed) == number)
    watched.thread.join(PATIENCE_SECONDS)
    assert watched.errors == [None]


def test_between_two_raises_the_handler_has_time_to_clean_up(watch: Callable[..., Watched]) -> None:
    watched = watch("withstand", ago(1), cooperative=0, between_raises=600, stuck=6_000)
    eventually(lambda: watched.is_inside)
    watched.timeouts.run_once()
    assert watched.slot.has_raised
    watched.slot.has_raised = False
    assert 500 < watched.timeouts.run_once() <= 600
    assert not watched.slot.has_raised


def test_a_thread_that_does_not_move_is_stuck(watch: Callable[..., Watched]) -> None:
    watched = watch("block", ago(10), cooperative=0.5, stuck=5)
    assert watched.timeouts.run_once() == math.inf
    assert watched.stuck == [(watched.slot, watched.held)]


def test_a_job_that_was_given_up_is_not_looked_at_again(watch: Callable[..., Watched]) -> None:
    watched = watch("block", ago(10))
    assert watched.slot.give_up(watched.held)
    assert watched.timeouts.run_once() == math.inf
    assert not watched.stuck


def test_jobs_of_the_same_timeout_one_after_the_other_do_not_wake_the_duty_each_time(
    watch: Callable[..., Watched],
) -> None:
    watched = watch("block", time.monotonic() + 100)
    watched.timeouts.run_once()
    watched.end()
    assert watched.timeouts.run_once() > 50
    watched.timeouts.expect(time.monotonic() + 101)
    assert not watched.timeouts._wakened.is_set()


def test_an_earlier_deadline_cuts_the_sleep_short_and_a_later_one_does_not() -> None:
    timeouts = Timeouts(lambda *_: None)
    timeouts._next_look = 100.0
    timeouts.expect(200.0)
    assert not timeouts._wakened.is_set()
    timeouts.expect(50.0)
    assert timeouts._wakened.is_set()
