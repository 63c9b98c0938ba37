"""Who sits where under a supervisor, and how crash loops are slowed down."""

from __future__ import annotations

from wg_core._seat import CRASHES_AT_ONCE, MOST_DELAY_SECONDS, CrashLoop, Seat


def test_the_first_ends_are_replaced_at_once() -> None:
    crash_loop = CrashLoop()
    assert [crash_loop.delay(now) for now in (0.0, 0.1, 0.2, 0.3)] == [0.0] * (CRASHES_AT_ONCE - 1)


def test_each_further_end_within_a_minute_waits_longer_up_to_a_limit() -> None:
    crash_loop = CrashLoop()
    delays = [crash_loop.delay(number / 10) for number in range(40)][CRASHES_AT_ONCE - 1 :]
    assert delays[0] > 0.0
    assert delays == sorted(delays)
    assert delays[-1] == MOST_DELAY_SECONDS


def test_a_quiet_minute_is_forgiven() -> None:
    crash_loop = CrashLoop()
    for number in range(10):
        crash_loop.delay(number / 10)
    assert crash_loop.delay(100.0) == 0.0


def test_a_new_seat_is_due_and_a_closed_one_never() -> None:
    seat = Seat(1)
    assert seat.is_due(0.0)
    seat.close()
    assert seat.is_closed
    assert not seat.is_due(1e12)
