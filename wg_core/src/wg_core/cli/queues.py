"""`wg queues`, `wg pause` and `wg resume`."""

from __future__ import annotations

from typing import Any

import click

from wg_core._suggest import did_you_mean
from wg_core.backend import Backend
from wg_core.cli import output
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.protocol import QueueStats, StatsLevel
from wg_core.validation import check_queue

TOTALS = ("done", "failed", "cancelled", "expired")
EXACT_COUNTS = ("scheduled", "retry", "running", "dead")

force_option = click.option("--force", is_flag=True, help="Also when there is no such queue yet.")


@click.command()
@click.option("--exact", is_flag=True, help="Count everything by queue, however long it takes.")
@json_option
@store_options
def queues(*, store: StoreAddress, exact: bool, as_json: bool) -> None:
    """List the queues, what waits in them and for how long, and their totals."""
    with store.open() as backend:
        found = backend.stats(StatsLevel.EXACT if exact else StatsLevel.CHEAP).queues
    if as_json:
        output.print_json([as_dict(name, stats) for name, stats in found.items()])
    else:
        queue_table(found, exact=exact).show("no queues yet: a queue begins with its first job")


@click.command()
@click.argument("queue")
@force_option
@store_options
def pause(*, store: StoreAddress, queue: str, force: bool) -> None:
    """Stop handing out the jobs of QUEUE, to all workers, until `wg resume`. Enqueueing goes on."""
    with store.open() as backend:
        _check_known(backend, queue, force=force)
        backend.pause(queue)
    click.echo(f"paused {queue!r}")


@click.command()
@click.argument("queue")
@force_option
@store_options
def resume(*, store: StoreAddress, queue: str, force: bool) -> None:
    """Hand out the jobs of QUEUE again."""
    with store.open() as backend:
        _check_known(backend, queue, force=force)
        backend.resume(queue)
    click.echo(f"resumed {queue!r}")


def queue_table(found: dict[str, QueueStats], *, exact: bool) -> output.Table:
    """Return the queues as a table; exact counts have columns of their own."""
    counts = EXACT_COUNTS if exact else ()
    table = output.Table(
        ("queue", "ready", "oldest", *counts, *TOTALS, "paused"),
        numbers=frozenset({"ready", "oldest", *counts, *TOTALS}),
    )
    for name, stats in found.items():
        table.add(
            name,
            output.at_least(stats.ready, capped=stats.ready_capped),
            output.span(stats.oldest_ready_seconds),
            *(f"{getattr(stats, key):,}" for key in (*counts, *TOTALS)),
            "paused" if stats.paused else None,
        )
    return table


def as_dict(name: str, stats: QueueStats) -> dict[str, Any]:
    """Return a queue for JSON; counts that only --exact fills are null without it."""
    return {
        "queue": name,
        "ready": stats.ready,
        "ready_capped": stats.ready_capped,
        "oldest_ready_seconds": stats.oldest_ready_seconds,
        "paused": stats.paused,
        **{key: getattr(stats, key) for key in (*EXACT_COUNTS, *TOTALS)},
    }


def _check_known(backend: Backend, queue: str, *, force: bool) -> None:
    """Refuse a queue that nobody has used: it is nearly always a slip of the keyboard."""
    check_queue(queue)
    known = backend.stats().queues
    if force or queue in known:
        return
    suggestion = did_you_mean(queue, known) or f"; there are: {', '.join(known) or 'none yet'}"
    raise click.UsageError(f"no queue {queue!r}{suggestion} (--force for a queue that is yet to come)")
