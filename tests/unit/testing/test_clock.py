from __future__ import annotations

import time

from wg_core.testing.clock import Clock


def test_a_clock_begins_at_the_real_time_and_stands_still() -> None:
    before = time.time_ns() // 1_000_000
    clock = Clock()
    assert before <= clock.now <= time.time_ns() // 1_000_000
    assert clock.now == clock.now


def test_a_clock_moves_by_hand_to_the_millisecond() -> None:
    clock = Clock(1_000)
    assert clock.ahead(1.5) == 2_500
    assert clock.now == 1_000
    assert clock.advance(0.0005 + 0.25) == clock.now == 1_250
    assert clock.advance(-0.25) == 1_000
