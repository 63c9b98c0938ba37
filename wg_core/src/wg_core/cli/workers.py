"""`wg workers`: the worker processes that are known to the store."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from wg_core.cli import output
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.protocol import WorkerInfo, WorkerRecord


@click.command()
@json_option
@store_options
def workers(*, store: StoreAddress, as_json: bool) -> None:
    """List the worker processes, oldest first, and how many jobs they hold."""
    with store.open() as backend:
        found = backend.workers()
    if as_json:
        output.print_json([_as_dict(record, _info(record)) for record in found])
        return
    table = output.Table(
        ("id", "host", "pid", "threads", "queues", "running", "started", "lease"),
        numbers=frozenset({"pid", "threads", "running"}),
    )
    for record in found:
        table.add(record.id, *_about(_info(record), record.running), _lease(record))
    table.show("no workers")


def _info(record: WorkerRecord) -> WorkerInfo | None:
    """Return what the worker said of itself; None where it said nothing that this version understands."""
    try:
        return None if record.info is None else msgspec.json.decode(record.info, type=WorkerInfo)
    except msgspec.DecodeError:
        return None


def _about(info: WorkerInfo | None, running: int) -> tuple[object, ...]:
    if info is None:
        return (None, None, None, None, running, None)
    queues = "every" if info.queues is None else ", ".join(info.queues)
    return (info.host, info.pid, info.threads, queues, running, output.ago(info.started_at))


def _lease(record: WorkerRecord) -> str:
    over = record.lease_until / 1_000 < time.time()
    return f"over since {output.ago(record.lease_until)}" if over else "live"


def _as_dict(record: WorkerRecord, info: WorkerInfo | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "running": record.running,
        "lease_until": output.iso(record.lease_until),
        "host": info and info.host,
        "pid": info and info.pid,
        "threads": info and info.threads,
        "queues": list(info.queues) if info and info.queues is not None else None,
        "started_at": output.iso(info.started_at) if info else None,
        "version": info and info.version,
        "supervisor": info and info.supervisor,
    }
