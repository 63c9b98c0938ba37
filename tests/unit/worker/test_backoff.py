import pytest

from wg_core.backoff import bounce_delay, draw, pause_after, retry_delay


@pytest.mark.parametrize(
    ("attempt", "expected"), [(1, 10.0), (2, 20.0), (3, 40.0), (9, 2_560.0), (10, 3_600.0), (10_000, 3_600.0)]
)
def test_the_delay_doubles_with_each_attempt_up_to_an_hour(attempt: int, expected: float) -> None:
    assert retry_delay(10.0, attempt) == expected


def test_chance_moves_a_delay_by_at_most_a_tenth() -> None:
    assert retry_delay(10.0, 1, 1.0) == pytest.approx(11.0)
    assert retry_delay(10.0, 1, -1.0) == pytest.approx(9.0)
    assert retry_delay(10.0, 99, 1.0) == pytest.approx(3_960.0)


@pytest.mark.parametrize("base", [0.0, 1e-9, 86_400.0, 1e300])
def test_any_base_gives_a_delay_from_zero_to_an_hour(base: float) -> None:
    assert all(0.0 <= retry_delay(base, attempt) <= 3_600.0 for attempt in (0, 1, 2, 63, 64, 65, 10_000))


def test_bounces_wait_longer_each_time_but_never_much_over_a_minute() -> None:
    delays = [bounce_delay(bounces) for bounces in range(200)]
    assert delays[0] == 2.0
    assert delays == sorted(delays)
    assert delays[-1] == 60.0


def test_pauses_after_failures_grow_to_two_seconds() -> None:
    assert [pause_after(failures) for failures in (1, 2, 3, 10_000)] == [0.1, 0.2, 0.4, 2.0]
    assert pause_after(10_000, 1.0) == 3.0


def test_chance_is_between_minus_one_and_one() -> None:
    assert all(-1.0 <= draw() <= 1.0 for _ in range(1_000))
