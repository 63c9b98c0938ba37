"""Options of SQL backends, for any scheme."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from wg_core.errors import ConfigError
from wg_core.sql import Option, at_least, boolean, one_of, read_options, seconds

KNOWN = {
    "size": Option(at_least(1)),
    "offset": Option(at_least(None)),
    "wait": Option(seconds(most=10)),
    "mode": Option(one_of("FAST", "Safe")),
    "quiet": Option(boolean),
}


def test_options_of_the_query_and_keywords_are_parsed_and_keywords_win() -> None:
    given = read_options("x", "size=3&wait=2.5&mode=safe", {"size": 4, "quiet": True}, KNOWN)
    assert given == {"size": 4, "wait": 2.5, "mode": "Safe", "quiet": True}


def test_no_query_means_no_options() -> None:
    assert read_options("x", "", {}, KNOWN) == {}


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("false", False), ("0", False)])
def test_booleans_are_written_in_several_ways(text: str, *, value: bool) -> None:
    assert read_options("x", f"quiet={text}", {}, KNOWN) == {"quiet": value}


def test_durations_are_numbers_or_timedeltas() -> None:
    assert read_options("x", "", {"wait": timedelta(milliseconds=1_500)}, KNOWN) == {"wait": 1.5}
    assert read_options("x", "", {"wait": 3}, KNOWN) == {"wait": 3.0}


@pytest.mark.parametrize("wrong", [True, math.inf, math.nan, -1, 11, None, "long", [], timedelta(days=1)])
def test_a_wrong_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="option wait of x: must be a number of seconds of at least 0 and at most 10"):
        read_options("x", "", {"wait": wrong}, KNOWN)


@pytest.mark.parametrize("wrong", [True, 0, 1.5, "one", "1.5", None])
def test_a_wrong_number_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="option size of x: must be a whole number of at least 1, got"):
        read_options("x", "", {"size": wrong}, KNOWN)


def test_an_unknown_option_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown option 'sise' of x:, did you mean 'size'.* known: mode, offset, quiet"
    ):
        read_options("x", "sise=1", {}, KNOWN)


@pytest.mark.parametrize("query", ["size", "size=1&&mode=fast", "mode=%ff"])
def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    with pytest.raises(ConfigError, match="must be name=value pairs"):
        read_options("x", query, {}, KNOWN)
