"""Reserve: from ready to running, queue by queue in the worker's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wg_core.errors import LeaseLostError
from wg_core.job import ReservedJob
from wg_core.sql.destinations import Destinations
from wg_core.sql.requests import LastRequest
from wg_core.sql.statements import CLAIMED
from wg_core.sql.transaction import Transaction

_RANK, _SEQ, _QUEUE = CLAIMED.index("rank"), CLAIMED.index("seq"), CLAIMED.index("queue")
_EXPIRED_AT_MOST = 1_000
"""How many expired jobs one reserve clears away before it answers with what it has."""

ClaimedRow = tuple[Any, ...]


def look(tx: Transaction, queues: Sequence[str] | None, worker: str, request_no: int) -> list[ReservedJob] | None:
    """Return the answer of a reserve that has nothing to write, None when it has."""
    before = _last_request(tx, worker).repeated_answer(request_no)
    if before is not None:
        return _claimed_before(tx, worker, request_no, before)
    return None if busy_queues(tx, queues, request_no) else []


def reserve_jobs(
    tx: Transaction, queues: Sequence[str] | None, limit: int, worker: str, request_no: int
) -> list[ReservedJob]:
    """Move up to `limit` jobs to running, or answer a repeated request with what it reserved."""
    last = _last_request(tx, worker)
    before = last.repeated_answer(request_no)
    if before is not None:
        return _claimed_before(tx, worker, request_no, before)
    claimed = _claim(tx, busy_queues(tx, queues, request_no), limit, worker, request_no)
    if claimed:
        last.remember(tx, request_no, list(dict.fromkeys(row[_QUEUE] for row in claimed)))
    return [reserved_job(row) for row in claimed]


def _last_request(tx: Transaction, worker: str) -> LastRequest:
    """Return the worker's last reserve; its answer are the queues. Raises LeaseLostError without a live lease."""
    found = tx.row(tx.statements.lease, worker=worker, operation="reserve")
    if found is None or found[1] or found[0] <= tx.now:
        raise LeaseLostError(f"worker {worker!r} has no live lease", worker=worker)
    return LastRequest(worker, "reserve", number=found[2], answer=found[3])


def busy_queues(tx: Transaction, queues: Sequence[str] | None, request_no: int) -> list[str]:
    """Return the queues that hold ready jobs and are not paused: as listed, or all in turn."""
    if queues is None:
        busy = tx.column(tx.statements.busy_queues(listed=False))
        first = request_no % len(busy) if busy else 0
        return busy[first:] + busy[:first]
    listed = dict.fromkeys(queues)
    busy = tx.column(tx.statements.busy_queues(listed=True), queues=tx.ids(listed))
    return [queue for queue in listed if queue in busy]


def _claim(tx: Transaction, queues: Sequence[str], limit: int, worker: str, request_no: int) -> list[ClaimedRow]:
    """Move up to `limit` jobs to running, in order; expired ones that stand in the way end."""
    claimed: list[ClaimedRow] = []
    ended = Destinations(tx.now)
    may_clear = limit + _EXPIRED_AT_MOST
    for queue in queues:
        while len(claimed) < limit and may_clear > 0:
            wanted = limit - len(claimed)
            parameters = {"queue": queue, "limit": wanted, "worker": worker, "request_no": request_no, "now": tx.now}
            window = tx.flavor.claim(tx, parameters)
            claimed += sorted(window.rows, key=lambda row: (row[_RANK], row[_SEQ]))
            ended.count(queue, "expired", window.removed - len(window.rows))
            may_clear -= window.removed
            if window.removed < wanted:
                break
    ended.write(tx)
    return claimed


def _claimed_before(tx: Transaction, worker: str, request_no: int, queues: Sequence[str]) -> list[ReservedJob]:
    """Return again what a repeated request reserved and still runs, in the same order."""
    rows = tx.rows(tx.statements.claimed_before, worker=worker, request_no=request_no)
    place = {queue: number for number, queue in enumerate(queues)}
    rows.sort(key=lambda row: (place.get(row[_QUEUE], len(place)), row[_RANK], row[_SEQ]))
    return [reserved_job(row) for row in rows]


def reserved_job(row: ClaimedRow) -> ReservedJob:
    """Return a claimed row as the worker gets it."""
    (
        job_id,
        name,
        queue,
        rank,
        body,
        attempt,
        lease_no,
        max_retries,
        at_most_once,
        crashes,
        snoozes,
        bounces,
        enqueued_at,
        reserved_at,
        _,
    ) = row
    return ReservedJob(
        id=job_id,
        name=name,
        queue=queue,
        priority=-rank,
        body=body,
        attempt=attempt,
        lease_no=lease_no,
        max_retries=max_retries,
        at_most_once=bool(at_most_once),
        crashes=crashes,
        snoozes=snoozes,
        bounces=bounces,
        enqueued_at=enqueued_at,
        reserved_at=reserved_at,
    )
