"""Options of jobs, and the limits of names."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec import UNSET

from wg_core import ConfigError, JobOptions
from wg_core.errors import UnsupportedError
from wg_core.validation import check_id, check_key, check_name, check_namespace, check_queue, to_timestamp

NAN = float("nan")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("priority", 101, "priority must be a whole number from -100 to 100, got 101"),
        ("priority", -101, "from -100 to 100"),
        ("priority", True, "got True"),
        ("priority", 1.0, "got 1.0"),
        ("max_retries", -1, "max_retries must be a whole number from 0"),
        ("max_retries", False, "got False"),
        ("retry_delay", -1, "retry_delay must be zero or more seconds, got -1"),
        ("retry_delay", NAN, "retry_delay must be a number of seconds or a timedelta, got nan"),
        ("retry_delay", "3", "got '3'"),
        ("timeout", 0, "timeout must be more than zero seconds, got 0"),
        ("timeout", -5, "got -5"),
        ("timeout", float("inf"), "got inf"),
        ("timeout", True, "got True"),
        ("delay", timedelta(seconds=-1), "delay must be zero or more seconds"),
        ("delay", 1e18, "delay must be less than a hundred years"),
        ("expires_in", 0, "expires_in must be more than zero seconds"),
        ("run_at", 1_700_000_000, "run_at must be a datetime with a time zone"),
        ("run_at", datetime(2030, 1, 1), "must have a time zone, got the naive '2030-01-01T00:00:00'"),  # noqa: DTZ001 - the mistake under test
        ("at_most_once", 1, "at_most_once must be True or False, got 1"),
        ("queue", "", "a queue name must be a string of 1 to 200 characters"),
        ("queue", None, "got None"),
        ("id", "x" * 65, "a job id is 1 to 64 visible ASCII characters"),
        ("id", "ümlaut", "visible ASCII"),
        ("id", "", "visible ASCII"),
        ("id", "a b", "visible ASCII"),
        ("headers", {"a": 1}, "headers must be strings, got 'a': 1"),
        ("headers", ["a"], "headers must be a mapping"),
        ("headers", {"a": "\ud800"}, "lone surrogates"),
        ("headers", {"a": "x" * 20_000}, "16,384 characters together"),
    ],
)
def test_a_value_that_no_store_would_take_is_refused_by_name(option: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JobOptions.of(**{option: value})
    assert expected in str(caught.value)


@pytest.mark.parametrize("option", ["unique", "result_ttl"])
def test_an_option_of_a_later_version_is_refused_by_name(option: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{option} is not in this version of wg") as caught:
        JobOptions.of(**{option: 60})
    assert caught.value.capability == option
    assert JobOptions.of(**{option: None}) is not None


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="unknown job option 'priorty', did you mean 'priority'"):
        JobOptions.of(priorty=3)
    with pytest.raises(ConfigError, match="unknown job option 'zzz'; known: at_most_once, delay"):
        JobOptions.of(zzz=3)


def test_durations_may_be_timedeltas_and_are_kept_as_seconds() -> None:
    options = JobOptions(delay=timedelta(hours=1), timeout=timedelta(milliseconds=250), retry_delay=3)
    assert (options.delay, options.timeout, options.retry_delay) == (3600.0, 0.25, 3.0)


def test_no_timeout_is_something_else_than_no_word_about_the_timeout() -> None:
    declared = JobOptions(timeout=60)
    assert JobOptions(timeout=None).timeout is None
    assert JobOptions().timeout is UNSET
    assert declared.merged(JobOptions()).timeout == 60
    assert declared.merged(JobOptions(timeout=None)).timeout is None


def test_what_is_given_later_wins_and_the_rest_stays() -> None:
    merged = JobOptions(queue="mail", priority=1).merged(JobOptions(priority=5, max_retries=0))
    assert merged == JobOptions(queue="mail", priority=5, max_retries=0)
    assert merged.merged(None) is merged


def test_a_delay_and_a_moment_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="delay and run_at exclude each other"):
        JobOptions(delay=1, run_at=datetime.now(UTC))


def test_a_later_moment_replaces_a_delay_and_the_other_way_round() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert JobOptions(delay=5).merged(JobOptions(run_at=moment)) == JobOptions(run_at=moment)
    assert JobOptions(run_at=moment).merged(JobOptions(delay=5)) == JobOptions(delay=5)


def test_options_survive_pickling_and_show_only_what_is_given() -> None:
    options = JobOptions(queue="mail", timeout=None)
    assert pickle.loads(pickle.dumps(options)) == options
    assert repr(options) == "JobOptions(queue='mail', timeout=None)"


def test_a_moment_keeps_its_offset_and_is_rounded_up_to_the_millisecond() -> None:
    madrid_summer = timezone(timedelta(hours=2))
    moment = datetime(1970, 1, 1, 2, 0, 0, 1, tzinfo=madrid_summer)
    options = JobOptions(run_at=moment)
    assert isinstance(options.run_at, datetime)
    assert to_timestamp(options.run_at) == 1


@pytest.mark.parametrize("name", ["a", "wg", "my_app2", "a" * 30])
def test_a_legal_namespace_is_taken(name: str) -> None:
    assert check_namespace(name) == name


@pytest.mark.parametrize("name", ["", "A", "1a", "_a", "a-b", "a" * 31, "a\n", "ä", None, 3])
def test_an_illegal_namespace_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="a namespace is 1 to 30 characters"):
        check_namespace(name)


@pytest.mark.parametrize("text", ["x", "x" * 200, "größe:日本 %s 'quoted' \"twice\" 🦜", " a "])
def test_names_and_queues_may_hold_any_visible_text(text: str) -> None:
    assert (check_name(text), check_queue(text), check_key(text)) == (text, text, text)


@pytest.mark.parametrize("text", ["", "x" * 201, "a\x00b", "a\nb", "\x7f", "\ud800", None, 3, b"x"])
def test_names_that_some_store_could_not_hold_are_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="a job name"):
        check_name(text)


def test_keys_may_be_longer_than_names() -> None:
    assert check_key("k" * 255)
    with pytest.raises(ConfigError, match="a key must be a string of 1 to 255 characters, got 256 characters"):
        check_key("k" * 256)


def test_an_id_of_64_characters_is_taken() -> None:
    assert check_id("~" * 64) == "~" * 64
