"""The guard: exceptions asked for from outside land in the handler or nowhere."""

from __future__ import annotations

import gc
import math
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.unit.worker.support import PATIENCE_SECONDS, Store
from wg_core._held import HeldJob
from wg_core._slot import RaisedCancel, RaisedTimeout, Slot
from wg_core.errors import JobTimeout


@pytest.fixture
def no_collection() -> Iterator[None]:
    """A destructor that is hit by an exception from outside swallows it and warns; garbage may be of any test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def slot_of_this_thread() -> Slot:
    slot = Slot(0)
    slot.thread_id = threading.get_ident()
    return slot


def test_a_handler_that_returns_has_no_error(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    seen: list[object] = []
    assert slot.guard(held, math.inf, seen.append, 1) is None
    assert seen == [1]
    assert (slot.ended, slot.running, slot.busy_since) == (1, None, None)


def test_whatever_a_handler_raises_comes_back_as_a_value(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())

    def fail(error: BaseException) -> None:
        raise error

    for error in (ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RaisedTimeout()):
        assert slot.guard(held, math.inf, fail, error) is error


def test_an_exception_from_outside_hits_a_handler_that_computes(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())

    def compute() -> None:
        threading.Thread(target=slot.raise_in_handler, args=(RaisedTimeout, held)).start()
        while True:
            pass

    assert isinstance(slot.guard(held, math.inf, compute), JobTimeout)
    assert slot.has_raised


def test_nothing_is_raised_once_the_handler_is_over(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    slot.guard(held, math.inf, int)
    assert not slot.raise_in_handler(RaisedTimeout, held)


def test_nothing_is_raised_in_the_handler_of_another_job(store: Store) -> None:
    lease = store.lease()
    slot, first, second = slot_of_this_thread(), store.hold(lease), store.hold(lease)
    assert slot.guard(first, math.inf, slot.raise_in_handler, RaisedTimeout, second) is None


@pytest.mark.usefixtures("no_collection")
def test_an_exception_asked_for_in_the_last_moment_of_a_handler_never_leaves_the_guard(store: Store) -> None:
    """Asked for from the handler's own last call: whatever bytecode it hits, the code behind the guard is safe."""
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    for _ in range(2_000):
        error = slot.guard(held, math.inf, slot.raise_in_handler, RaisedTimeout, held)
        assert error is None or isinstance(error, JobTimeout)
    assert slot.ended == 2_000
    assert slot.busy_since is None


@pytest.mark.usefixtures("no_collection")
def test_a_thread_that_asks_all_the_time_never_hits_code_outside_the_guard(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    over = threading.Event()
    hits = []

    def pester() -> None:
        while not over.is_set():
            if slot.raise_in_handler(RaisedTimeout, held):
                hits.append(1)
                over.wait(0.0005)

    pest = threading.Thread(target=pester)
    pest.start()
    try:
        while len(hits) < 200:
            slot.guard(held, math.inf, sum, range(2_000))
    finally:
        over.set()
        pest.join(PATIENCE_SECONDS)


@pytest.mark.usefixtures("no_collection")
def test_an_exception_from_outside_never_leaves_the_guard_beside_the_error_of_the_handler(store: Store) -> None:
    """Threads change places as often as they can, so that it is asked for at every place where it could hit."""
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    over = threading.Event()
    hits = []

    def pester() -> None:
        while not over.is_set():
            if slot.raise_in_handler(RaisedTimeout, held):
                hits.append(1)

    def fail() -> None:
        raise ValueError

    pest = threading.Thread(target=pester)
    pause = sys.getswitchinterval()
    pest.start()
    sys.setswitchinterval(0.000_001)
    try:
        while len(hits) < 4_000:
            assert isinstance(slot.guard(held, math.inf, fail), ValueError | JobTimeout)
    finally:
        sys.setswitchinterval(pause)
        over.set()
        pest.join(PATIENCE_SECONDS)
    assert slot.running is None


def test_a_job_is_given_up_by_one_caller_only(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    answers: list[bool] = []

    def give_up_twice() -> None:
        answers.extend([slot.give_up(held), slot.give_up(held)])

    slot.guard(held, math.inf, give_up_twice)
    assert answers == [True, False]
    assert slot.is_given_up
    assert held.is_over


def test_a_job_whose_handler_ended_is_not_given_up(store: Store) -> None:
    slot, held = slot_of_this_thread(), store.hold(store.lease())
    slot.guard(held, math.inf, int)
    assert not slot.give_up(held)


def test_the_raised_errors_explain_themselves() -> None:
    assert str(RaisedTimeout()) == "the time of this job is over"
    assert "gives this job back" in str(RaisedCancel())


def test_a_held_job_is_named_with_its_attempt_of_the_most(store: Store) -> None:
    held: HeldJob = store.hold(store.lease(), id="7f3a", name="send_email", queue="mail", max_retries=5)
    assert str(held) == "job 7f3a send_email [mail] attempt 1/6"
