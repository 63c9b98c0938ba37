"""`wg jobs`: look at jobs in any state, and cancel, delete or requeue them by id."""

from __future__ import annotations

import click

from wg_core.cli import _job_view, _selection
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.job import JobState
from wg_core.protocol import Action, CancelJobs, DeleteJobs, JobFilter, RequeueJobs

LISTED_STATES = (JobState.RUNNING, JobState.READY, JobState.RETRY, JobState.SCHEDULED, JobState.DEAD)
"""The states of a list without --state, in this order."""

limit_option = click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="The most jobs to list; 0 lists all."
)


JSON_HELP = """\
With --json a job is an object, and a list is an array of them. The keys are always there: id, name, queue, state,
priority, attempt, max_retries, at_most_once, args, timeout_seconds, retry_delay_seconds, headers, body_base64 (only
where the body is no envelope), enqueued_at, run_at, expires_at, reserved_at, ended_at, worker, lease_no, started,
cancel_requested, progress, crashes, snoozes, bounces, history. Moments are ISO 8601 in UTC, or null.
"""


@click.group(no_args_is_help=False, epilog=JSON_HELP)
def jobs() -> None:
    """List, show, cancel, delete or requeue jobs."""


@jobs.command("list")
@click.option("--state", type=click.Choice([str(state) for state in LISTED_STATES]), help="Only this state.")
@click.option("--queue", help="Only this queue.")
@click.option("--name", help="Only this name.")
@limit_option
@json_option
@store_options
def list_jobs(
    *, store: StoreAddress, state: str | None, queue: str | None, name: str | None, limit: int, as_json: bool
) -> None:
    """List jobs: what runs now first, then what waits, then the dead letters."""
    states = LISTED_STATES if state is None else (JobState(state),)
    with store.open() as backend:
        found = _job_view.find_all(backend, [JobFilter(state=each, queue=queue, name=name) for each in states], limit)
        _job_view.print_list(found, as_json=as_json, empty="no jobs")


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@json_option
@store_options
def show_job(*, store: StoreAddress, job_id: str, as_json: bool) -> None:
    """Show everything that is known of one job, its attempts included."""
    with store.open() as backend:
        _job_view.print_one(_job_view.get_one(backend, job_id), as_json=as_json)


@jobs.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@store_options
def cancel_jobs(*, store: StoreAddress, ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel waiting jobs; a running one is asked to stop."""
    _alter(store, ids, CancelJobs(), "cancelled", as_json=as_json)


@jobs.command("delete")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@store_options
def delete_jobs(*, store: StoreAddress, ids: tuple[str, ...], as_json: bool) -> None:
    """Delete jobs that are not running, without a trace."""
    _alter(store, ids, DeleteJobs(), "deleted", as_json=as_json)


@jobs.command("requeue")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@store_options
def requeue_jobs(*, store: StoreAddress, ids: tuple[str, ...], as_json: bool) -> None:
    """Make jobs ready now: a dead letter gets all its attempts again, a waiting job does not wait for its time."""
    _alter(store, ids, RequeueJobs(), "requeued", as_json=as_json)


def _alter(store: StoreAddress, ids: tuple[str, ...], action: Action, done: str, *, as_json: bool) -> None:
    with store.open() as backend:
        changes = _selection.change_ids(backend, ids, action, expected=None)
    _selection.report(changes, done, "job", as_json=as_json)
