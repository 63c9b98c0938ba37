"""`wg dead`: the dead letters, the jobs that failed for good."""

from __future__ import annotations

import click

from wg_core.cli import _job_view, _selection, output
from wg_core.cli._options import StoreAddress, duration, json_option, store_options, yes_option
from wg_core.cli.jobs import JSON_HELP, limit_option
from wg_core.job import JobState
from wg_core.protocol import Action, DeleteJobs, JobFilter, RequeueJobs, Retention

NOUN = "dead letter"
PRUNE_LIMIT = 500


@click.group(no_args_is_help=False, epilog=JSON_HELP)
def dead() -> None:
    """List, show, retry, delete or purge dead letters."""


@dead.command("list")
@click.option("--queue", help="Only this queue.")
@click.option("--name", help="Only this name.")
@limit_option
@json_option
@store_options
def list_dead(*, store: StoreAddress, queue: str | None, name: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, the newest first."""
    where = JobFilter(state=JobState.DEAD, queue=queue, name=name)
    with store.open() as backend:
        found = _job_view.find_all(backend, [where], limit)
        _job_view.print_list(found, as_json=as_json, empty="no dead letters")


@dead.command("show")
@click.argument("job_id", metavar="ID")
@json_option
@store_options
def show_dead(*, store: StoreAddress, job_id: str, as_json: bool) -> None:
    """Show a dead letter with its attempts and their tracebacks."""
    with store.open() as backend:
        _job_view.print_one(_job_view.get_one(backend, job_id, JobState.DEAD), as_json=as_json)


@dead.command("retry")
@_selection.selection_options
@yes_option
@json_option
@store_options
def retry_dead(
    *,
    store: StoreAddress,
    ids: tuple[str, ...],
    queue: str | None,
    name: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make dead letters ready again, with all their attempts before them."""
    what = _selection.describe(ids, queue, name, everything=everything, noun=NOUN)
    if not ids:
        _selection.confirm(f"Retry {what}?", yes=yes)
    where = JobFilter(state=JobState.DEAD, queue=queue, name=name)
    _alter(store, ids, where, RequeueJobs(), done="retried", as_json=as_json)


@dead.command("delete")
@_selection.selection_options
@yes_option
@json_option
@store_options
def delete_dead(
    *,
    store: StoreAddress,
    ids: tuple[str, ...],
    queue: str | None,
    name: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete dead letters without a trace."""
    what = _selection.describe(ids, queue, name, everything=everything, noun=NOUN)
    _selection.confirm(f"Delete {what}?", yes=yes)
    where = JobFilter(state=JobState.DEAD, queue=queue, name=name)
    _alter(store, ids, where, DeleteJobs(), done="deleted", as_json=as_json)


@dead.command("purge")
@click.option("--older-than", type=duration, metavar="DURATION", help="Delete those that died longer ago: 7d, 3600.")
@click.option("--keep", type=click.IntRange(min=0), help="Keep only so many, the newest.")
@yes_option
@json_option
@store_options
def purge_dead(*, store: StoreAddress, older_than: float | None, keep: int | None, yes: bool, as_json: bool) -> None:
    """Delete dead letters by age or number; waiting jobs past their expiry end with them."""
    if older_than is None and keep is None:
        raise click.UsageError("purge what? Give --older-than or --keep")
    limits = [
        *([] if older_than is None else [f"older than {output.span(older_than)}"]),
        *([] if keep is None else [f"beyond the newest {keep:,}"]),
    ]
    _selection.confirm(f"Delete dead letters {' or '.join(limits)}?", yes=yes)
    policy = Retention(dead_seconds=older_than, dead_most=keep)
    changes = _selection.Changes()
    with store.open() as backend:
        while pruned := backend.prune(policy, PRUNE_LIMIT):
            changes.changed += pruned
    _selection.report(changes, "purged", "job", as_json=as_json)


def _alter(
    store: StoreAddress, ids: tuple[str, ...], where: JobFilter, action: Action, *, done: str, as_json: bool
) -> None:
    with store.open() as backend:
        if ids:
            changes = _selection.change_ids(backend, ids, action, frozenset({JobState.DEAD}))
        else:
            changes = _selection.change_found(backend, where, action)
    _selection.report(changes, done, NOUN, as_json=as_json)
