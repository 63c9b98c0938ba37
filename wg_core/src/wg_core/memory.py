"""The memory backend: the contract of `wg_core.backend` in its most readable form, for tests and single processes.

`memory:` and `memory:name` are one store per (URL, namespace) within a process, however often they are opened;
the jobs live as long as the process, or until `clear`. A forked child starts with empty stores: the jobs stay with
the parent.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from wg_core import _memory_moves as moves
from wg_core import _memory_queries as queries
from wg_core._memory_records import StoredWorker
from wg_core._memory_store import MemoryStore
from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, BackendUnavailableError, ConfigError, LeaseLostError
from wg_core.job import EnqueueResult, JobRecord, JobState, NewJob, ReservedJob, Timestamp, milliseconds
from wg_core.outcome import Applied, Outcome
from wg_core.protocol import (
    Action,
    AlterResult,
    BeatAnswer,
    Capability,
    Health,
    JobFilter,
    JobPage,
    Migration,
    Promoted,
    Rescued,
    Retention,
    Stats,
    StatsLevel,
    WorkerBeat,
    WorkerNews,
    WorkerRecord,
)

_stores: dict[tuple[str, str], MemoryStore] = {}


def clear(url: str = "memory:", namespace: str = "wg") -> None:
    """Forget every job, worker and counter of one memory store; backends that are open go on with it empty."""
    store = _store_of(url, namespace)
    with store.changed:
        store.clear()


def _store_of(url: str, namespace: str) -> MemoryStore:
    return _stores.setdefault((url, namespace), MemoryStore())  # one step, so threads need no lock (nor does a fork)


def _moment(now: Timestamp | None) -> Timestamp:
    return time.time_ns() // 1_000_000 if now is None else now


class MemoryBackend(Backend):
    """One store in this process. Every method holds the store's lock, which makes it one atomic step."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.INSPECT, Capability.ALTER, Capability.DELAY, Capability.PAUSE}
    )

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store
        self._closed = False
        self._interrupted = False

    # ------------------------------------------------------------------ life

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend on the store of (url, namespace), which is made when it is new."""
        name, _, query = url.partition("?")
        if options or query:
            raise ConfigError(f"memory: takes no options, got {', '.join(options) or query!r}")
        return cls(_store_of(name, namespace))

    def close(self) -> None:
        """Wake this backend's waiters and refuse later calls. The jobs stay."""
        with self._store.changed:
            self._closed = True
            self._store.changed.notify_all()

    def forget_connections(self) -> None:
        """Start the child of a fork with an empty store: the jobs belong to the parent."""
        self._store.renew_lock()
        self._store.clear()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Say that there is no schema to bring up to date."""
        with self._locked():
            return Migration(from_version=1, to_version=1)

    @contextmanager
    def _locked(self) -> Iterator[MemoryStore]:
        with self._store.changed:
            if self._closed:
                raise BackendUnavailableError("this backend was closed; open another one")
            yield self._store

    # ------------------------------------------------------------------ producing

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Store a batch under one hold of the lock."""
        self._check_batch(jobs)
        if connection is not None:
            raise self._unsupported(Capability.TRANSACTIONAL)
        if any(job.unique is not None for job in jobs):
            raise self._unsupported(Capability.UNIQUE)
        if any(job.result_ttl_seconds for job in jobs):
            raise self._unsupported(Capability.RESULTS)
        for job in jobs:
            moves.check_job(job)
        with self._locked() as store:
            moment = _moment(now)
            return [EnqueueResult(job.id, moves.enqueue_job(store, job, moment)) for job in jobs]

    def _check_batch(self, batch: Sequence[object]) -> None:
        if len(batch) > self.max_batch:
            raise BackendRejectedError(f"a batch holds at most {self.max_batch} jobs, got {len(batch)}")

    # ------------------------------------------------------------------ working

    def reserve(
        self,
        queues: Sequence[str] | None,
        limit: int,
        worker: str,
        *,
        request_no: int,
        now: Timestamp | None = None,
    ) -> list[ReservedJob]:
        """Take from the front of each queue's index."""
        with self._locked() as store:
            moment = _moment(now)
            holder = store.live_worker(worker, moment)
            if holder is None:
                raise LeaseLostError(f"worker {worker!r} has no live lease", worker=worker)
            repeated = holder.reserves.repeated(request_no)
            if repeated is not None:
                return [moves.reserved_job(job) for job in holder.still_held(repeated)]
            order = _rotated(list(store.queues), request_no) if queues is None else queues
            jobs = [moves.reserved_job(job) for job in moves.reserve_jobs(store, order, max(0, limit), holder, moment)]
            if jobs:
                holder.reserves.remember(request_no, [(job.id, job.lease_no) for job in jobs])
            return jobs

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply each outcome in turn, and remember what was answered."""
        for outcome in outcomes:
            moves.check_outcome(outcome)
        with self._locked() as store:
            holder = store.workers.get(worker)
            if holder is None:
                return [Applied.LOST] * len(outcomes)
            answer = holder.reports.repeated(request_no)
            if answer is None:
                moment = _moment(now)
                answer = [moves.apply_outcome(store, holder, outcome, moment) for outcome in outcomes]
                holder.reports.remember(request_no, answer)
            return list(answer)

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Renew leases in the worker table."""
        leases = [(beat, milliseconds(beat.lease_seconds)) for beat in workers]
        with self._locked() as store:
            moment = _moment(now)
            news = {beat.worker: _renew(store, beat, moment, moment + lease) for beat, lease in leases}
            return BeatAnswer(news=news, paused=frozenset(store.paused))

    def held(self, worker: str) -> list[tuple[str, int]]:
        """Read what the worker's entry holds."""
        with self._locked() as store:
            holder = store.workers.get(worker)
            return [] if holder is None else [(job.new.id, job.lease_no) for job in holder.held.values()]

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Settle everything the worker holds, in the order in which it was reserved."""
        with self._locked() as store:
            moment, begun = _moment(now), set(started)
            holder = store.workers.pop(worker, None)
            return [
                store.settle(job, reason, moment, started=job.started or (job.new.id, job.lease_no) in begun)
                for job in (list(holder.held.values()) if holder else ())
            ]

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Settle jobs of workers that are gone, those whose lease ended first before the others."""
        rescued: list[Rescued] = []
        with self._locked() as store:
            moment = _moment(now)
            if rescuer is not None and store.live_worker(rescuer, moment) is None:
                return []
            lost = [worker for worker in store.workers.values() if not worker.lives(moment)]
            for worker in sorted(lost, key=lambda worker: worker.lease_until):
                worker.gone = True
                for job in list(worker.held.values())[: max(0, limit - len(rescued))]:
                    reason = f"the lease of worker {worker.id} ran out"
                    rescued.append(store.settle(job, reason, moment, started=job.may_have_started()))
                if not worker.held:
                    del store.workers[worker.id]
        return rescued

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Move what is due from the front of the two indexes of waiting jobs."""
        with self._locked() as store:
            moment, moved = _moment(now), 0
            while (entry := store.next_due()) is not None and entry[0] <= moment and moved < limit:
                store.make_ready(entry[2], moment)
                moved += 1
            next_due = None if entry is None else max(0, entry[0] - moment) / 1000
            return Promoted(moved=moved, next_due_seconds=next_due)

    # ------------------------------------------------------------------ waiting

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """Sleep on the store's condition, which every job that becomes ready notifies."""
        with self._locked() as store:
            store.changed.wait_for(
                lambda: self._interrupted or self._closed or store.has_ready(queues), timeout=timeout_seconds
            )
            self._interrupted = False

    def interrupt(self) -> None:
        """Set a flag that the next `wait` of this backend takes back."""
        with self._store.changed:
            self._interrupted = True
            self._store.changed.notify_all()

    # ------------------------------------------------------------------ inspect

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        """Look the jobs up."""
        with self._locked() as store:
            return [queries.job_record(store.jobs[job_id]) for job_id in ids if job_id in store.jobs]

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        """Walk along the index of the state."""
        with self._locked() as store:
            return queries.find(store, where, cursor, limit) if limit > 0 else JobPage()

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        """Return exact counts at either level: here they cost nothing."""
        with self._locked() as store:
            return queries.stats(store, _moment(now))

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        """Return the worker table, in the order of registration."""
        with self._locked() as store:
            return [queries.worker_record(worker) for worker in store.workers.values()]

    def health(self) -> Health:
        """Tell how many jobs this process keeps; there is no server to ask."""
        with self._locked() as store:
            return Health(
                latency_seconds=0.0,
                server=f"memory of this process (Python {platform.python_version()})",
                warnings=("jobs are lost when this process ends; use sqlite: or a server to keep them",),
                details={"jobs": len(store.jobs)},
            )

    # ------------------------------------------------------------------ alter and pause

    def alter(
        self,
        ids: Sequence[str],
        action: Action,
        *,
        expected: frozenset[JobState] | None = None,
        now: Timestamp | None = None,
    ) -> AlterResult:
        """Change each job in turn under one hold of the lock."""
        self._check_batch(ids)
        moves.check_action(action)
        with self._locked() as store:
            moment = _moment(now)
            once = dict.fromkeys(ids)
            refusals = {job_id: moves.alter_job(store, job_id, action, expected, moment) for job_id in once}
            return AlterResult(
                changed=tuple(job_id for job_id, why in refusals.items() if why is None),
                refused={job_id: why for job_id, why in refusals.items() if why is not None},
            )

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        """Take dead jobs from the old end of their index, then expired ones from the front of theirs."""
        with self._locked() as store:
            moment = _moment(now)
            pruned = moves.prune_dead(store, policy, limit, moment)
            return pruned + moves.expire_waiting(store, limit - pruned, moment)

    def pause(self, queue: str) -> None:
        """Add the queue to the paused ones."""
        with self._locked() as store:
            store.paused.add(queue)

    def resume(self, queue: str) -> None:
        """Take the queue from the paused ones and wake everybody."""
        with self._locked() as store:
            store.paused.discard(queue)
            store.changed.notify_all()


def _rotated(queues: list[str], request_no: int) -> list[str]:
    first = request_no % len(queues) if queues else 0
    return queues[first:] + queues[:first]


def _renew(store: MemoryStore, beat: WorkerBeat, now: Timestamp, until: Timestamp) -> WorkerNews:
    worker = store.workers.get(beat.worker)
    if worker is None and beat.first:
        worker = store.workers[beat.worker] = StoredWorker(beat.worker, now)
    if worker is None or worker.gone:
        return WorkerNews(lease_lost=True)
    worker.lease_until = until
    if beat.info is not None:
        worker.info = beat.info
    return WorkerNews(cancels=tuple((job.new.id, job.lease_no) for job in worker.cancels.values()))
