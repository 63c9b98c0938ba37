"""Workers: leases, and what becomes of the jobs of those that died."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from wg_core.history import vanished
from wg_core.job import JobState, milliseconds
from wg_core.protocol import BeatAnswer, Rescued, WorkerBeat, WorkerNews
from wg_core.sql.destinations import Destinations, add_record
from wg_core.sql.flavor import Row
from wg_core.sql.transaction import Transaction


def renew_leases(tx: Transaction, beats: Sequence[WorkerBeat], *, waits: bool = True) -> BeatAnswer:
    """Renew the leases of workers that are not gone, and bring the news.

    With `waits=False` workers whose rows are locked are passed over, and taken for alive.
    """
    busy = set() if waits else _locked(tx, beats)
    # In one order for everybody, so that no two transactions wait crosswise.
    beaten = sorted((beat for beat in beats if beat.worker not in busy), key=lambda beat: beat.worker)
    alive = busy | {beat.worker for beat in beaten if _renew(tx, beat)}
    cancels: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for worker, job_id, lease_no in tx.rows(tx.statements.cancels, workers=tx.ids(alive)):
        cancels[worker].append((job_id, lease_no))
    news = {
        beat.worker: WorkerNews(lease_lost=beat.worker not in alive, cancels=tuple(cancels[beat.worker]))
        for beat in beats
    }
    return BeatAnswer(news=news, paused=frozenset(tx.column(tx.statements.paused)))


def _locked(tx: Transaction, beats: Sequence[WorkerBeat]) -> set[str]:
    """Return the workers that are not gone and whose rows somebody keeps locked."""
    workers = tx.ids([beat.worker for beat in beats])
    known = set(tx.column(tx.statements.known_workers, workers=workers))
    return known.difference(tx.column(tx.statements.free_workers, workers=workers))


def _renew(tx: Transaction, beat: WorkerBeat) -> bool:
    until = tx.now + milliseconds(beat.lease_seconds)
    if beat.first:
        tx.run(tx.statements.add_worker, id=beat.worker, lease_until=until, registered_at=tx.now, info=beat.info)
    return tx.run(tx.statements.renew, worker=beat.worker, until=until, news=beat.info) > 0


def has_live_lease(tx: Transaction, worker: str) -> bool:
    """Tell whether the worker is known, not gone, and its lease not over."""
    found = tx.row(tx.statements.lease, worker=worker, operation="reserve")
    return found is not None and not found[1] and found[0] > tx.now


def retire_worker(tx: Transaction, worker: str, started: Sequence[tuple[str, int]], reason: str) -> list[Rescued]:
    """Settle all that a dead worker holds and forget it."""
    begun = set(started)
    # A reserve that the worker sent before it died may still be on its way: nobody would find its jobs any more.
    tx.rows(tx.statements.lock_worker, worker=worker)
    rows = tx.take(tx.statements.take_of_worker, worker=worker)
    rescued = _settle_all(
        tx, rows, lambda _: reason, lambda row: bool(row["started"]) or (row["id"], row["lease_no"]) in begun
    )
    _forget(tx, worker)
    return rescued


def rescue_jobs(tx: Transaction, limit: int, rescuer: str | None) -> list[Rescued]:
    """Settle jobs of workers whose lease is over."""
    if rescuer is not None and not has_live_lease(tx, rescuer):
        return []
    statements = tx.statements
    if expired := tx.column(statements.lock_expired, now=tx.now):
        tx.run(statements.mark_gone, workers=tx.ids(expired))
    rows = _take_of_gone(tx, limit)
    rescued = _settle_all(tx, rows, lambda row: f"the lease of worker {row['worker']} ran out", _may_have_started)
    for worker in tx.column(statements.empty_handed, now=tx.now):
        _forget(tx, worker)
    return rescued


def _take_of_gone(tx: Transaction, limit: int) -> list[Row]:
    rows: list[Row] = []
    for worker in tx.column(tx.statements.given_up, now=tx.now):
        if len(rows) < limit:
            rows += tx.take(tx.statements.take_some_of_worker, worker=worker, limit=limit - len(rows))
    return rows


def _may_have_started(row: Row) -> bool:
    """Without a witness: a job that crashed a worker before runs only after a Start, any other may just have begun."""
    return bool(row["started"]) or not (row["at_most_once"] or row["crashes"])


def _settle_all(
    tx: Transaction, rows: list[Row], reason: Callable[[Row], str], had_started: Callable[[Row], bool]
) -> list[Rescued]:
    destinations = Destinations(tx.now)
    rows.sort(key=lambda row: int(row["seq"]))
    rescued = [_settle(row, reason(row), destinations, started=had_started(row)) for row in rows]
    destinations.write(tx)
    return rescued


def _settle(row: Row, reason: str, destinations: Destinations, *, started: bool) -> Rescued:
    """Decide what becomes of one job of a dead worker (see `Backend.rescue`)."""
    worker = row["worker"]
    if row["cancel_requested"]:
        destinations.count(row["queue"], "cancelled")
        return _rescued(row, JobState.CANCELLED, charged=False)
    if not started:
        row["attempt"] -= 1
        destinations.give_back(row)
        return _rescued(row, JobState.READY, charged=False)
    row["crashes"] += 1
    add_record(
        row,
        vanished(
            attempt=row["attempt"],
            worker=worker,
            reserved_at=row["reserved_at"],
            ended_at=destinations.now,
            reason=reason,
        ),
    )
    if row["at_most_once"] or row["attempt"] > row["max_retries"]:
        destinations.bury(row)
        return _rescued(row, JobState.DEAD, charged=True)
    destinations.give_back(row)
    return _rescued(row, JobState.READY, charged=True)


def _rescued(row: Row, state: JobState, *, charged: bool) -> Rescued:
    return Rescued(id=row["id"], name=row["name"], worker=row["worker"], state=state, charged=charged)


def _forget(tx: Transaction, worker: str) -> None:
    for statement in tx.statements.forget_worker:
        tx.run(statement, worker=worker)
