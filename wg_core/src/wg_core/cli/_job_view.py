"""Jobs as rows, as a page of their own, and as JSON with stable keys."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec

from wg_core.backend import Backend
from wg_core.cli import output
from wg_core.envelope import Envelope, decode_envelope
from wg_core.errors import PayloadError, UnknownJobError
from wg_core.history import AttemptRecord
from wg_core.job import JobRecord, JobState
from wg_core.protocol import JobFilter

PAGE = 500


def find_all(backend: Backend, filters: Iterable[JobFilter], limit: int) -> Iterator[JobRecord]:
    """Yield the jobs that the filters find, one filter after the other; says so where `limit` (0: none) cuts them."""
    page_size = min(PAGE, limit + 1) if limit else PAGE
    found = itertools.chain.from_iterable(_pages(backend, where, page_size) for where in filters)
    for number, record in enumerate(found):
        if limit and number == limit:
            click.echo(f"only the first {limit} are shown, --limit 0 shows all", err=True)
            return
        yield record


def _pages(backend: Backend, where: JobFilter, page_size: int) -> Iterator[JobRecord]:
    cursor = None
    while True:
        page = backend.find(where, cursor=cursor, limit=page_size)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def get_one(backend: Backend, job_id: str, *states: JobState) -> JobRecord:
    """Return the job, in one of the states if any are given; UnknownJobError says where it is instead."""
    found = backend.get([job_id])
    if not found:
        raise UnknownJobError(f"no job {job_id!r} in this namespace; jobs that are done leave no record")
    if states and found[0].state not in states:
        raise UnknownJobError(f"job {job_id!r} is {found[0].state}, not {' or '.join(states)}")
    return found[0]


def print_list(records: Iterable[JobRecord], *, as_json: bool, empty: str) -> None:
    """Write a list of jobs."""
    if as_json:
        output.print_json_lines(as_dict(record) for record in records)
        return
    table = output.Table(("id", "name", "queue", "state", "prio", "run", "when", "note"), numbers=frozenset({"prio"}))
    for record in records:
        attempt = f"{record.attempt}/{record.max_retries + 1}"
        table.add(
            record.id, record.name, record.queue, record.state, record.priority, attempt, _when(record), _note(record)
        )
    table.show(empty)


def print_one(record: JobRecord, *, as_json: bool) -> None:
    """Write everything that is known of one job."""
    if as_json:
        output.print_json(as_dict(record))
        return
    view = as_dict(record)
    output.print_pairs(
        [
            *((key, view[key]) for key in ("id", "name", "queue", "state", "priority")),
            ("attempt", f"{record.attempt} of {record.max_retries + 1}"),
            ("delivery", "at most once" if record.at_most_once else None),
            ("args", view["body_base64"] or json.dumps(view["args"], ensure_ascii=False)),
            ("timeout", f"{view['timeout_seconds']} s" if view["timeout_seconds"] else "none"),
            ("enqueued", output.moment(record.enqueued_at)),
            ("due", output.moment(record.run_at)),
            ("expires", output.moment(record.expires_at)),
            ("reserved", output.moment(record.reserved_at)),
            ("ended", output.moment(record.ended_at)),
            ("worker", record.worker),
            ("cancel", "requested" if record.cancel_requested else None),
            ("progress", None if record.progress is None else json.dumps(view["progress"], ensure_ascii=False)),
            ("crashes", record.crashes or None),
            ("snoozes", record.snoozes or None),
            ("bounces", record.bounces or None),
        ]
    )
    for attempt in record.history:
        _print_attempt(attempt)


def as_dict(record: JobRecord) -> dict[str, Any]:
    """Return the job for JSON. The keys are always all there; moments are ISO 8601 in UTC, or null."""
    envelope = _envelope(record.body)
    return {
        "id": record.id,
        "name": record.name,
        "queue": record.queue,
        "state": str(record.state),
        "priority": record.priority,
        "attempt": record.attempt,
        "max_retries": record.max_retries,
        "at_most_once": record.at_most_once,
        "args": None if envelope is None else json.loads(bytes(envelope.args)),
        "timeout_seconds": None if envelope is None else envelope.timeout,
        "retry_delay_seconds": None if envelope is None else envelope.retry_delay,
        "headers": {} if envelope is None else envelope.headers,
        "body_base64": base64.b64encode(record.body).decode() if envelope is None else None,
        "enqueued_at": output.iso(record.enqueued_at),
        "run_at": output.iso(record.run_at),
        "expires_at": output.iso(record.expires_at),
        "reserved_at": output.iso(record.reserved_at),
        "ended_at": output.iso(record.ended_at),
        "worker": record.worker,
        "lease_no": record.lease_no,
        "started": record.started,
        "cancel_requested": record.cancel_requested,
        "progress": None if record.progress is None else msgspec.json.decode(record.progress),
        "crashes": record.crashes,
        "snoozes": record.snoozes,
        "bounces": record.bounces,
        "history": [_attempt_as_dict(attempt) for attempt in record.history],
    }


def _envelope(body: bytes) -> Envelope | None:
    """Return the decoded body; None where a newer wg, or somebody else, wrote it."""
    try:
        return decode_envelope(body)
    except PayloadError:
        return None


def _attempt_as_dict(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "worker": attempt.worker,
        "started_at": output.iso(attempt.started_at),
        "ended_at": output.iso(attempt.ended_at),
        "error_type": attempt.error_type,
        "error_message": attempt.error_message,
        "traceback": attempt.traceback,
    }


def _print_attempt(attempt: AttemptRecord) -> None:
    error = f"{attempt.error_type}: {attempt.error_message}" if attempt.error_type else ""
    click.echo()
    click.echo(f"attempt {attempt.attempt}: {attempt.outcome} {output.moment(attempt.ended_at) or ''}".rstrip())
    click.echo(f"  worker {output.printable(attempt.worker)}")
    for line in (attempt.traceback or error).splitlines():
        click.echo(f"  {output.printable(line)}")


def _when(record: JobRecord) -> str | None:
    """Return the moment that matters in the job's state."""
    match record.state:
        case JobState.SCHEDULED | JobState.RETRY:
            moment = record.run_at
        case JobState.RUNNING:
            moment = record.reserved_at
        case JobState.READY:
            moment = record.enqueued_at
        case _:
            moment = record.ended_at
    return output.ago(moment)


def _note(record: JobRecord) -> str | None:
    """Return in a few words why the job is where it is: who runs it, or what its last attempt said."""
    if record.state is JobState.RUNNING:
        return f"on {record.worker}" + (", cancel requested" if record.cancel_requested else "")
    if not record.history:
        return None
    last = record.history[-1]
    lines = (last.error_message or "").splitlines()
    text = ": ".join(part for part in (last.error_type, lines[0] if lines else None) if part)
    return text if len(text) <= 60 else f"{text[:57]}..."
