from __future__ import annotations

from types import SimpleNamespace

import pytest

from wg_core import _prefetch
from wg_core._prefetch import UNMEASURED_SUSPECTS, Prefetch
from wg_core._slot import Slot


def slots_of(count: int) -> list[Slot]:
    return [Slot(index) for index in range(count)]


def ended(slots: list[Slot], jobs: int, seconds_each: float) -> None:
    for slot in slots:
        slot.ended += jobs
        slot.busy_seconds += jobs * seconds_each


def test_nothing_is_held_ahead_before_anything_was_measured() -> None:
    assert Prefetch(lambda: slots_of(4), 100).jobs_ahead() == 0


@pytest.mark.parametrize(
    ("seconds_each", "expected"),
    [(0.0, 500), (0.000_01, 500), (0.001, 500), (0.01, 80), (0.1, 8), (0.19, 4), (0.21, 0), (1.0, 0), (60.0, 0)],
)
def test_the_pace_decides_how_many_jobs_are_held_ahead(seconds_each: float, expected: int) -> None:
    slots = slots_of(4)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 100, seconds_each)
    assert prefetch.jobs_ahead() == pytest.approx(expected, abs=4)


def test_long_jobs_are_not_held_ahead_however_many_threads_there_are() -> None:
    slots = slots_of(1_000)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 10, 1.0)
    assert prefetch.jobs_ahead() == 0


def test_only_what_ended_since_the_last_look_counts() -> None:
    slots = slots_of(2)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 1_000, 0.0001)
    assert prefetch.jobs_ahead() == 500
    ended(slots, 1, 2.0)
    assert prefetch.jobs_ahead() == 0


def test_threads_that_are_all_blocked_end_the_prefetch_before_their_jobs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_prefetch, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    slots = slots_of(2)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 1_000, 0.0001)
    assert prefetch.jobs_ahead() == 500
    slots[0].busy_since = 995.0
    assert prefetch.jobs_ahead() == 500
    slots[1].busy_since = 999.6
    assert prefetch.jobs_ahead() == 500
    slots[1].busy_since = 999.4
    assert prefetch.jobs_ahead() == 0


def test_one_fast_job_that_was_interrupted_changes_little() -> None:
    slots = slots_of(1)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 1_000, 0.000_01)
    assert prefetch.jobs_ahead() == 500
    ended(slots, 1, 0.005)
    assert prefetch.jobs_ahead() == 500


def test_a_handful_of_fast_jobs_after_slow_ones_is_believed() -> None:
    slots = slots_of(1)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 10, 1.0)
    assert prefetch.jobs_ahead() == 0
    ended(slots, 20, 0.000_01)
    assert prefetch.jobs_ahead() == 500


def test_fast_suspects_may_wait_and_slow_ones_may_not() -> None:
    slots = slots_of(4)
    prefetch = Prefetch(lambda: slots, 100)
    assert prefetch.suspects_ahead(None) == UNMEASURED_SUSPECTS
    ended(slots, 100, 0.02)
    prefetch.jobs_ahead()
    assert prefetch.suspects_ahead(None) == 50
    assert prefetch.suspects_ahead(0.01) == 50
    assert prefetch.suspects_ahead(1.5) == 0
    ended(slots, 100, 10.0)
    prefetch.jobs_ahead()
    assert prefetch.suspects_ahead(None) == 1


def test_a_thread_that_was_replaced_begins_to_count_at_zero() -> None:
    slots = slots_of(2)
    prefetch = Prefetch(lambda: slots, 100)
    ended(slots, 100, 0.01)
    assert prefetch.jobs_ahead() == 40
    slots[0] = Slot(0)
    assert prefetch.jobs_ahead() == 40
    ended(slots, 100, 0.01)
    assert prefetch.jobs_ahead() == 40
