"""Options of a backend: from the URL's query and from keywords, checked against one table.

A wrong option is a ConfigError that names it, what was expected and what was given; an unknown one also names the
nearest that exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from wg_core._suggest import did_you_mean
from wg_core.errors import ConfigError

_ENCODE_IT = "a ? in a password is written %3F"

Parse = Callable[[Any], Any]
"""Turns text (from a URL) or a value (from a keyword) into the option's type; ValueError says what was expected."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    parse: Parse


def read_options(scheme: str, query: str, keywords: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """Return the parsed options of a URL query and of keywords; keywords win."""
    given: dict[str, Any] = dict(_pairs(scheme, query))
    if "@" in query and not known.keys() >= given.keys():  # the name may be a part of a password, so it is not shown
        raise ConfigError(f"the query of a {scheme}: URL holds an unknown option and an @: {_ENCODE_IT}")
    given.update(keywords)
    return {name: _parsed(scheme, name, value, known) for name, value in given.items()}


def _pairs(scheme: str, query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise ConfigError(
            f"the query of a {scheme}: URL must be name=value pairs joined by &, got {_odd_piece(query)}"
        ) from None  # its message may quote a password


def _odd_piece(query: str) -> str:
    piece = next((piece for piece in query.split("&") if "=" not in piece), None)
    if piece is None:
        return "bytes that are no UTF-8"
    return repr(piece) if "@" not in query else f"an @: {_ENCODE_IT}"


def _parsed(scheme: str, name: str, value: Any, known: Mapping[str, Option]) -> Any:
    if name not in known:
        raise ConfigError(
            f"unknown option {name!r} of {scheme}:{did_you_mean(name, known) or ';'} known: {', '.join(sorted(known))}"
        )
    try:
        return known[name].parse(value)
    except ValueError as error:
        raise ConfigError(f"option {name} of {scheme}: must be {error}, got {value!r}") from error


def one_of(*choices: str) -> Parse:
    """Return a parser for one of some words, in any case; answers in the case given here."""
    by_lower = {choice.lower(): choice for choice in choices}

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in by_lower:
            raise ValueError(f"one of {', '.join(choices)}")
        return by_lower[value.lower()]

    return parse


def boolean(value: Any) -> bool:
    """Parse true or false (also 1, 0, yes, no, on, off)."""
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("true or false")


def at_least(least: int | None) -> Parse:
    """Return a parser for a whole number of at least `least` (None: any)."""
    expected = "a whole number" if least is None else f"a whole number of at least {least}"

    def parse(value: Any) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(expected) from error
        if isinstance(number, bool) or not isinstance(number, int) or (least is not None and number < least):
            raise ValueError(expected)
        return number

    return parse


def seconds(*, least: float = 0.0, most: float = math.inf) -> Parse:
    """Return a parser for a duration in seconds, as a number, a string or a timedelta."""
    expected = f"a number of seconds of at least {least:g}" + ("" if math.isinf(most) else f" and at most {most:g}")

    def parse(value: Any) -> float:
        try:
            number = value.total_seconds() if isinstance(value, timedelta) else float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(expected) from error
        if isinstance(value, bool) or not least <= number <= most or math.isinf(number):
            raise ValueError(expected)
        return number

    return parse
