"""Options that many commands share, and the types of their values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from wg_core.backend import Backend
from wg_core.cli._errors import DEBUG_KEY
from wg_core.registry import open_backend

Command = TypeVar("Command", bound=Callable[..., Any])

_UNIT_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Which store and which namespace a command is about."""

    url: str
    namespace: str

    def open(self) -> Backend:
        """Return the backend, a context manager; nothing is sent yet."""
        return open_backend(self.url, namespace=self.namespace)


def duration(value: str | float) -> float:
    """Return seconds; written as `30`, `30s`, `500ms`, `5m`, `2h` or `7d`."""
    if isinstance(value, int | float):
        return float(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip())
    if match is None or match[2] not in _UNIT_SECONDS:
        raise click.BadParameter(f"{value!r} is not a duration: write 30, 30s, 500ms, 5m, 2h or 7d, never negative")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def duration_or_none(value: str | float) -> float | str:
    """Return seconds, or the word `none`: None itself would mean that the option was not given."""
    return "none" if value == "none" else duration(value)


def moment(value: str | datetime) -> datetime:
    """Return an aware datetime from ISO 8601; without an offset nobody could know which moment is meant."""
    if isinstance(value, datetime):
        return value
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a time: write for example 2030-01-31T08:00:00Z") from error
    if parsed.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no offset from UTC: append Z (for UTC) or for example +01:00")
    return parsed


def names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return names separated by commas, in the order they were written."""
    if isinstance(value, tuple):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def store_options(command: Command) -> Command:
    """Give a command --url, --namespace and --debug; its function gets them as `store: StoreAddress`."""

    @functools.wraps(command)
    def with_store(*args: Any, url: str | None, namespace: str, **kwargs: Any) -> Any:
        if url is None:
            raise click.UsageError(
                "which store? Give --url or set WG_URL, for example --url sqlite:jobs.db or --url redis://localhost:6379"
            )
        return command(*args, store=StoreAddress(url=url, namespace=namespace), **kwargs)

    for option in (debug_option, _namespace_option, _url_option):
        with_store = option(with_store)
    return with_store  # type: ignore[return-value]  # click's decorators hand the function back


def _note_debug(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    ctx.meta[DEBUG_KEY] = value


_url_option = click.option("--url", envvar="WG_URL", show_envvar=True, help="The store.")
_namespace_option = click.option(
    "--namespace", envvar="WG_NAMESPACE", show_envvar=True, default="wg", show_default=True, help="Isolates everything."
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_note_debug, help="Show the traceback of an error."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
