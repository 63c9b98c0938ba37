"""`wg enqueue`: store one job by name, without its code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from wg_core.cli import output
from wg_core.cli._options import StoreAddress, duration, duration_or_none, json_option, moment, store_options
from wg_core.client import Client
from wg_core.options import JobOptions


@click.command()
@click.argument("name")
@click.option("--args", "args_text", default="{}", help="JSON object of named parameters; @FILE, or - for stdin.")
@click.option("--queue", help="Where it waits.")
@click.option("--priority", type=int, help="-100 to 100; higher runs first.")
@click.option("--delay", type=duration, metavar="DURATION", help="Not before so much time has passed.")
@click.option("--at", "run_at", type=moment, metavar="TIME", help="Not before this moment, 2030-01-31T08:00:00Z.")
@click.option("--expires-in", type=duration, metavar="DURATION", help="Not run at all after so much time.")
@click.option("--max-retries", type=int, help="How often a failed run is repeated.")
@click.option("--retry-delay", type=duration, metavar="DURATION", help="Before the first retry; doubles each time.")
@click.option("--timeout", type=duration_or_none, metavar="DURATION", help="For each run; none = no limit.")
@click.option("--at-most-once", is_flag=True, default=None, help="Never start it twice, not even after a crash.")
@click.option("--id", "id", help="The job's id; the same id again is the same job.")
@json_option
@store_options
def enqueue(*, store: StoreAddress, name: str, args_text: str, as_json: bool, **options: Any) -> None:
    """Store one job for the handler NAME and write its id."""
    args = _parse_args(args_text)
    given = {key: value for key, value in options.items() if value is not None}
    with store.open() as backend:
        handle = Client(backend).enqueue_named(name, args, options=JobOptions(**_with_none(given)))
    if as_json:
        output.print_json({"id": handle.id, "name": name, "queue": handle.queue, "stored": handle.stored})
    else:
        click.echo(handle.id)
    if not handle.stored:
        click.echo(f"wg: job {handle.id} was there before, nothing was changed", err=True)


def _with_none(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the word `none` of --timeout by None."""
    return {key: None if value == "none" and key == "timeout" else value for key, value in options.items()}


def _parse_args(text: str) -> dict[str, Any]:
    text = _read(text)
    try:
        args = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f'--args must be a JSON object such as \'{{"to": "ada"}}\': {error}') from error
    if not isinstance(args, dict):
        raise click.UsageError(f"--args must be a JSON object of named parameters, got {_json_kind(args)}")
    return args


def _read(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read --args {text}: {error}") from error


def _json_kind(value: object) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
