"""Get and find: records of jobs for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wg_core.errors import BackendRejectedError
from wg_core.history import decode_history
from wg_core.job import JobRecord, JobState
from wg_core.protocol import JobFilter, JobPage
from wg_core.sql.statements import PAGE_KEYS, RECORD_COLUMNS
from wg_core.sql.transaction import Transaction

_LOOK_AT_MOST = 1_000
"""How many jobs a filtered page looks at before it answers, however few of them match."""

Key = tuple[Any, ...]


def get_records(tx: Transaction, ids: Sequence[str]) -> list[JobRecord]:
    """Return the records of ids that exist, in the order of the ids."""
    wanted = tx.ids(dict.fromkeys(ids))
    found = {row[1]: row for row in tx.rows(tx.statements.records, ids=wanted)}
    return [_record(found[job_id]) for job_id in ids if job_id in found]


def find_records(tx: Transaction, where: JobFilter, cursor: str | None, limit: int) -> JobPage:
    """Return a page; its cursor is the key of the last job that was looked at."""
    if where.state not in PAGE_KEYS:
        return JobPage()
    fixed: Key = (where.queue,) if where.state is JobState.READY and where.queue is not None else ()
    after = None if cursor is None else _decode_cursor(cursor, where.state)
    filters = where.name is not None or (where.queue is not None and not fixed)
    look_at = max(_LOOK_AT_MOST, limit) if filters else limit
    candidates = _candidates(tx, where.state, fixed, after, look_at + 1)
    ids: list[str] = []
    last: Key | None = None
    for number, (job_id, name, queue, *key) in enumerate(candidates):
        if number == look_at or len(ids) == limit:
            return JobPage(jobs=_in_state(tx, ids, where.state), cursor=msgspec.json.encode(last).decode())
        last = tuple(key)
        if where.name in {None, name} and where.queue in {None, queue}:
            ids.append(job_id)
    return JobPage(jobs=_in_state(tx, ids, where.state))


def _candidates(tx: Transaction, state: JobState, fixed: Key, after: Key | None, limit: int) -> list[tuple[Any, ...]]:
    """Return (id, name, queue, *key) along the index: a chain of ranges from the innermost column outwards."""
    if after is None:
        return _range(tx, state, fixed, None, limit)
    found: list[tuple[Any, ...]] = []
    for depth in range(len(after) - 1, len(fixed) - 1, -1):
        if len(found) < limit:
            found += _range(tx, state, after[:depth], after[depth], limit - len(found))
    return found


def _range(tx: Transaction, state: JobState, fixed: Key, beyond: Any, limit: int) -> list[tuple[Any, ...]]:
    values = fixed if beyond is None else (*fixed, beyond)
    key = {f"key_{name}": value for name, value in zip(PAGE_KEYS[state], values, strict=False)}
    return tx.rows(tx.statements.page(state, fixed=len(fixed), after=beyond is not None), **key, limit=limit)


def _decode_cursor(cursor: str, state: JobState) -> Key:
    types = {"queue": str, "id": str}
    expected = [types.get(name, int) for name in PAGE_KEYS[state]]
    try:
        key = msgspec.json.decode(cursor, type=tuple[int | str, ...])
    except msgspec.MsgspecError:
        key = ()
    if [type(value) for value in key] != expected:
        raise BackendRejectedError(f"not a cursor of a list of {state.value} jobs: {cursor!r}")
    return key


def _in_state(tx: Transaction, ids: Sequence[str], state: JobState) -> tuple[JobRecord, ...]:
    return tuple(record for record in get_records(tx, ids) if record.state is state) if ids else ()


def _record(row: tuple[Any, ...]) -> JobRecord:
    fields = dict(zip(RECORD_COLUMNS, row, strict=True))
    fields["state"] = JobState(fields["state"])
    fields["priority"] = -fields.pop("rank")
    fields["history"] = decode_history(fields["history"])
    for flag in ("at_most_once", "started", "cancel_requested"):
        fields[flag] = bool(fields[flag])
    return JobRecord(**fields)
