"""The options of a job: what a handler declares, what one call changes, and the defaults under both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

import msgspec
from msgspec import UNSET, UnsetType

from wg_core import validation
from wg_core._suggest import did_you_mean
from wg_core.errors import ConfigError, UnsupportedError
from wg_core.settings import Seconds


class OptionKeywords(TypedDict, total=False):
    """The keywords that `@job`, `using` and `JobOptions.of` take, for type checkers."""

    queue: str
    priority: int
    max_retries: int
    retry_delay: Seconds
    timeout: Seconds | None
    delay: Seconds
    run_at: datetime
    expires_in: Seconds | None
    at_most_once: bool
    id: str
    headers: Mapping[str, str]
    unique: None
    result_ttl: None


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """How a job is to run. What is not given stays unset and leaves the handler's own option alone.

    Durations are seconds or a timedelta, and are kept as float seconds. Raises ConfigError at construction, naming
    the option, what was expected and what was given; UnsupportedError for an option that this version lacks.
    """

    queue: str | UnsetType = UNSET
    """Default `default`."""
    priority: int | UnsetType = UNSET
    """-100 to 100, higher runs first; default 0."""
    max_retries: int | UnsetType = UNSET
    """Runs = 1 + max_retries; default 3."""
    retry_delay: Seconds | UnsetType = UNSET
    """Before the first retry; doubles with each further one; default 10."""
    timeout: Seconds | UnsetType | None = UNSET
    """For one run; None is none; default 300."""
    delay: Seconds | UnsetType = UNSET
    """Before the job becomes ready, by the store's clock; replaces run_at."""
    run_at: datetime | UnsetType = UNSET
    """When the job becomes ready, with a time zone; replaces delay."""
    expires_in: Seconds | UnsetType | None = UNSET
    """A job that did not start within this time never does; None is never, the default."""
    at_most_once: bool | UnsetType = UNSET
    """Rather not at all than twice: never retried once its handler started."""
    id: str | UnsetType = UNSET
    """Your own: a second job with an id that the store still knows is the same job. Default a new UUID version 7."""
    headers: Mapping[str, str] | UnsetType = UNSET
    """Strings that travel with the job, beside its arguments."""
    unique: Any | UnsetType = UNSET
    """Not in this version."""
    result_ttl: Any | UnsetType = UNSET
    """Not in this version."""

    def __post_init__(self) -> None:
        """Refuse what no store would take; durations become float seconds and moments UTC."""
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not UNSET:
                msgspec.structs.force_setattr(self, name, check(value))
        if self.delay is not UNSET and self.run_at is not UNSET:
            raise ConfigError("delay and run_at exclude each other: give one of them")

    @classmethod
    def of(cls, **options: Unpack[OptionKeywords]) -> JobOptions:
        """Return options from keywords; ConfigError with the nearest name for an unknown one."""
        refuse_unknown(options, cls.__struct_fields__)
        return cls(**options)

    def merged(self, changes: JobOptions | None) -> JobOptions:
        """Return these options with those of `changes` that are set in their place."""
        if changes is None:
            return self
        merged = self.given() | changes.given()
        if changes.delay is not UNSET:
            merged.pop("run_at", None)
        if changes.run_at is not UNSET:
            merged.pop("delay", None)
        return JobOptions(**merged)

    def given(self) -> dict[str, Any]:
        """Return the options that are set."""
        values = zip(self.__struct_fields__, msgspec.structs.astuple(self), strict=True)
        return {name: value for name, value in values if value is not UNSET}


def refuse_unknown(options: Iterable[str], known: Collection[str]) -> None:
    """Raise ConfigError for a name that is no option, with the nearest one."""
    for option in options:
        if option not in known:
            suggestion = did_you_mean(option, known) or ";"
            raise ConfigError(f"unknown job option {option!r}{suggestion} known: {', '.join(sorted(known))}")


def refuse_unsupported(option: str, value: object) -> None:
    """Raise UnsupportedError for an option that later versions have, unless it is switched off (None)."""
    if value is not None:
        raise UnsupportedError(f"{option} is not in this version of wg, got {value!r}", capability=option)


def _priority(value: int) -> int:
    return validation.check_whole_number(
        "priority", value, least=-validation.MAX_PRIORITY, most=validation.MAX_PRIORITY
    )


def _max_retries(value: int) -> int:
    return validation.check_whole_number("max_retries", value, least=0, most=validation.MAX_RETRIES)


def _timeout(value: Seconds | None) -> float | None:
    if value is None:
        return None
    return validation.check_duration("timeout", value, zero_allowed=False)


def _expires_in(value: Seconds | None) -> float | None:
    if value is None:
        return None
    return validation.check_duration("expires_in", value, zero_allowed=False)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "queue": validation.check_queue,
    "priority": _priority,
    "max_retries": _max_retries,
    "retry_delay": lambda value: validation.check_duration("retry_delay", value, zero_allowed=True),
    "timeout": _timeout,
    "delay": lambda value: validation.check_duration("delay", value, zero_allowed=True),
    "run_at": lambda value: validation.check_moment("run_at", value),
    "expires_in": _expires_in,
    "at_most_once": lambda value: validation.check_flag("at_most_once", value),
    "id": validation.check_id,
    "headers": validation.check_headers,
    "unique": lambda value: refuse_unsupported("unique", value),
    "result_ttl": lambda value: refuse_unsupported("result_ttl", value),
}
