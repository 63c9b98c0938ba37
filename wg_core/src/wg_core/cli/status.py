"""`wg status`: one look at a namespace."""

from __future__ import annotations

from typing import Any

import click

from wg_core.cli import output
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.cli.queues import as_dict as queue_as_dict
from wg_core.cli.queues import queue_table
from wg_core.protocol import Stats, StatsLevel
from wg_core.registry import redact

LENGTHS = ("ready", "scheduled", "retry", "running", "dead")


@click.command()
@click.option("--exact", is_flag=True, help="Count everything, however long it takes.")
@json_option
@store_options
def status(*, store: StoreAddress, exact: bool, as_json: bool) -> None:
    """Show how many jobs are in each state, the queues, and how many workers live."""
    with store.open() as backend:
        stats = backend.stats(StatsLevel.EXACT if exact else StatsLevel.CHEAP)
    if as_json:
        output.print_json(_as_dict(store, stats))
        return
    lengths = [(key, output.at_least(getattr(stats, key), capped=key in stats.capped)) for key in LENGTHS]
    output.print_pairs(
        [("store", redact(store.url)), ("namespace", store.namespace), *lengths, ("workers", str(stats.workers))]
    )
    if stats.queues:
        click.echo()
        queue_table(stats.queues, exact=exact).show("")
    if stats.ready and not stats.workers:
        click.echo("jobs are ready, but no worker is running: start one with `wg worker MODULE`", err=True)


def _as_dict(store: StoreAddress, stats: Stats) -> dict[str, Any]:
    return {
        "url": redact(store.url),
        "namespace": store.namespace,
        **{key: getattr(stats, key) for key in LENGTHS},
        "workers": stats.workers,
        "capped": sorted(stats.capped),
        "queues": [queue_as_dict(name, queue) for name, queue in stats.queues.items()],
    }
