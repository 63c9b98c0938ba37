"""Changing many jobs at once: by ids, or by filters a page at a time, after asking."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from wg_core.backend import Backend
from wg_core.cli import _errors, output
from wg_core.job import JobState
from wg_core.protocol import Action, JobFilter

Command = TypeVar("Command", bound=Callable[..., Any])

REFUSALS_SHOWN = 20


@dataclass(slots=True)
class Changes:
    """How many jobs were changed, and why the others were not."""

    changed: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def selection_options(command: Command) -> Command:
    """Give a command `ids`, `queue`, `name` and `everything`: which jobs it is about."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All of them."),
        click.option("--name", help="Those of this name."),
        click.option("--queue", help="Those of this queue."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


def describe(ids: tuple[str, ...], queue: str | None, name: str | None, *, everything: bool, noun: str) -> str:
    """Return the selection in words; refuse one that is empty or says two things."""
    filters = [f"{kind} {value!r}" for kind, value in (("of queue", queue), ("named", name)) if value is not None]
    if bool(ids) + bool(filters) + everything != 1:
        raise click.UsageError(f"which {noun}s? Give ids, or --queue and --name, or --all")
    if ids:
        return output.plural(len(ids), noun)
    return " ".join([f"all {noun}s", *filters])


def confirm(question: str, *, yes: bool) -> None:
    """Ask before a change of many jobs; without a terminal only --yes will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"not a terminal, so nobody can be asked ({question}): add --yes")
    click.confirm(question, abort=True, err=True)


def change_ids(backend: Backend, ids: tuple[str, ...], action: Action, expected: frozenset[JobState] | None) -> Changes:
    """Change jobs by id, as many at a time as the store takes."""
    changes = Changes()
    for start in range(0, len(ids), backend.max_batch):
        answer = backend.alter(ids[start : start + backend.max_batch], action, expected=expected)
        changes.changed += len(answer.changed)
        changes.refused.update(answer.refused)
    return changes


def change_found(backend: Backend, where: JobFilter, action: Action) -> Changes:
    """Change every job that the filter finds, page by page; a job that moved on meanwhile is let go."""
    changes = Changes()
    cursor: str | None = None
    while True:
        answer, cursor = backend.alter_found(where, action, cursor=cursor)
        changes.changed += len(answer.changed)
        if cursor is None:
            return changes


def report(changes: Changes, done: str, noun: str, *, as_json: bool) -> None:
    """Write what was changed and what was refused; a refusal is exit code 1."""
    if as_json:
        output.print_json({"changed": changes.changed, "refused": changes.refused})
    else:
        click.echo(f"{done} {output.plural(changes.changed, noun)}")
        for job_id, reason in list(changes.refused.items())[:REFUSALS_SHOWN]:
            click.echo(f"wg: {output.printable(job_id)} was left as it is: {reason}", err=True)
        if len(changes.refused) > REFUSALS_SHOWN:
            click.echo(f"wg: and {len(changes.refused) - REFUSALS_SHOWN} more", err=True)
    if changes.refused:
        click.get_current_context().exit(_errors.ExitCode.FAILED)
