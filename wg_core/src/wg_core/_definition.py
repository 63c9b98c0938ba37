"""Where a handler's body is defined, and whether it can be one at all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from wg_core.errors import ConfigError


def check_body(body: Callable[..., Any]) -> None:
    """Raise ConfigError unless `body` is a plain function that runs when it is called."""
    if not isinstance(body, FunctionType):
        raise ConfigError(f"@job decorates functions, got {body!r}")
    shown = f"{body.__qualname__!r} ({place_of(body)})"
    if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body):
        raise ConfigError(f"job {shown} is async; handlers run in threads: write def and call asyncio.run inside")
    if inspect.isgeneratorfunction(body):
        raise ConfigError(f"job {shown} is a generator, so that calling it would run nothing; handlers return")
    if _is_method(body):
        raise ConfigError(f"job {shown} is a method; a worker has no object to call it on: write a function")


def name_of(body: Callable[..., Any]) -> str:
    """Return the name a job has when none is given: the bare name of its function."""
    if body.__name__ == "<lambda>":
        raise ConfigError(f"a lambda ({place_of(body)}) has no name of its own: pass name=")
    return body.__name__


def place_of(body: Callable[..., Any]) -> str:
    """Return `module:line` of a function."""
    return f"{body.__module__}:{_first_line(body)}"


def are_one(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Return whether both are the same definition, loaded again (autoreload) or twice (also as `__main__`)."""
    if first.__qualname__ != second.__qualname__:
        return False
    return first.__module__ == second.__module__ or _file_of(first) == _file_of(second)


def _is_method(body: Callable[..., Any]) -> bool:
    owner = body.__qualname__.rpartition(".")[0]
    first_parameter = next(iter(inspect.signature(body).parameters), "")
    return owner != "" and not owner.endswith("<locals>") and first_parameter in {"self", "cls"}


def _first_line(body: Callable[..., Any]) -> int:
    body = inspect.unwrap(body)
    return body.__code__.co_firstlineno if isinstance(body, FunctionType) else 0


def _file_of(body: Callable[..., Any]) -> str:
    body = inspect.unwrap(body)
    return body.__code__.co_filename if isinstance(body, FunctionType) else ""
