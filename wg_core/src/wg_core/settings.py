"""The settings of a worker: one dataclass that the command line, the environment and keyword arguments all fill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeAlias

from wg_core.errors import ConfigError

Seconds: TypeAlias = float | timedelta
"""How public options take a duration."""

MAX_THREADS = 1_000
MAX_PROCESSES = 256
MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker works. Durations are seconds.

    Raises ConfigError at construction, naming the setting, what was expected and what was given.
    """

    threads: int = 4
    """Handlers that run at once in each process."""
    processes: int = 1
    """Worker processes under one supervisor; embedded pools have one, the host's."""
    queues: tuple[str, ...] | None = None
    """Served strictly in this order; None serves every queue, also later ones, in turn."""
    fetch_timeout: float = 5.0
    """The longest wait for a wake-up before the store is asked again."""
    scheduler_interval: float = 1.0
    """How often due scheduled jobs are looked for at the latest."""
    retrier_interval: float = 1.0
    """How often due retries are looked for at the latest."""
    batch_size: int = 100
    """The most jobs that one reserve, promote or rescue moves."""
    shutdown_timeout: float = 30.0
    """How long running handlers may go on after the first stop signal."""
    lease: float = 30.0
    """How long a silent worker keeps its jobs."""
    heartbeat: float = 2.0
    """How often the lease is renewed; also how fast a cancel is heard."""
    burst: bool = False
    """Stop when the queues hold no ready, due or running job."""

    def __post_init__(self) -> None:
        """Refuse values that could not work."""
        _check_count("threads", self.threads, MAX_THREADS)
        _check_count("processes", self.processes, MAX_PROCESSES)
        _check_count("batch_size", self.batch_size, 10_000)
        for name in ("fetch_timeout", "scheduler_interval", "retrier_interval", "lease", "heartbeat"):
            _check_duration(name, getattr(self, name), zero_allowed=False)
        _check_duration("shutdown_timeout", self.shutdown_timeout, zero_allowed=True)
        if self.lease < 2 * self.heartbeat:
            raise ConfigError(
                f"lease must be at least twice heartbeat ({self.heartbeat!r}), so that one lost beat loses nothing; "
                f"got {self.lease!r}"
            )
        if self.queues is not None:
            _check_queues(self.queues)

    @classmethod
    def of(cls, **settings: Any) -> WorkerSettings:
        """Return settings from keywords as users write them: durations also as timedelta, queues as any sequence."""
        known = {field.name for field in fields(cls)}
        for name in settings:
            if name not in known:
                raise ConfigError(f"unknown worker setting {name!r}; known: {', '.join(sorted(known))}")
        return cls(**{name: _plain(name, value) for name, value in settings.items()})

    def with_changes(self, changes: Mapping[str, Any]) -> WorkerSettings:
        """Return a copy with some settings replaced (and checked)."""
        return replace(self, **{name: _plain(name, value) for name, value in changes.items()})


def to_seconds(name: str, value: Seconds) -> float:
    """Return a duration in seconds; ConfigError when it is not a finite number or timedelta."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number of seconds or a timedelta, got {value!r}")
    return float(value)


_DURATIONS = frozenset(
    {"fetch_timeout", "scheduler_interval", "retrier_interval", "shutdown_timeout", "lease", "heartbeat"}
)


def _plain(name: str, value: Any) -> Any:
    if name in _DURATIONS:
        return to_seconds(name, value)
    if name == "queues" and value is not None:
        if isinstance(value, str):
            raise ConfigError(f"queues must be a list of names, got the string {value!r}; write [{value!r}]")
        return tuple(value)
    return value


def _check_count(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"{name} must be a whole number from 1 to {most}, got {value!r}")


def _check_duration(name: str, value: object, *, zero_allowed: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number of seconds, got {value!r}")
    if value < 0 or (value == 0 and not zero_allowed):
        raise ConfigError(
            f"{name} must be {'zero or more' if zero_allowed else 'more than zero'} seconds, got {value!r}"
        )


def _check_queues(queues: tuple[str, ...]) -> None:
    if not queues:
        raise ConfigError("queues must name at least one queue, or be None for every queue")
    for queue in queues:
        if not isinstance(queue, str) or not 1 <= len(queue) <= MAX_NAME_LENGTH:
            raise ConfigError(f"a queue name must be a string of 1 to {MAX_NAME_LENGTH} characters, got {queue!r}")
    if len(set(queues)) != len(queues):
        raise ConfigError(f"queues must not name one queue twice, got {list(queues)!r}")
