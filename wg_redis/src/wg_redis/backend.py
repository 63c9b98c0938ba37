"""The Redis backend: each method sends one script; what the script guarantees stands at its head in `lua/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, LeaseLostError, SchemaError
from wg_core.job import EnqueueResult, JobRecord, JobState, NewJob, ReservedJob, Timestamp
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
from wg_redis import _alter, _inspect, _records
from wg_redis._errors import SchemaMissingError
from wg_redis._health import health
from wg_redis._options import Options, parse_options
from wg_redis._scripts import load
from wg_redis._server import Server
from wg_redis._waiting import Waiters

SCHEMA_VERSION = 1
"""Of the layout that `lua/` reads and writes; lua/lib/schema.lua knows the same number."""
MIN_COMPATIBLE = 1
"""The oldest layout version that can work with this one."""


class RedisBackend(Backend):
    """One namespace on one Redis or Valkey server."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.INSPECT,
            Capability.ALTER,
            Capability.DELAY,
            Capability.PAUSE,
            Capability.BLOCKING,
            Capability.MULTI_PROCESS,
            Capability.DURABLE,
        }
    )

    def __init__(self, options: Options, namespace: str) -> None:
        super().__init__()
        self._options = options
        self._server = Server(options, namespace)
        self._waiters = Waiters(options, self._server.prefix, self.migrate)

    def __repr__(self) -> str:
        return f"<RedisBackend {self._server.prefix[:-1]} at {self._options.address}>"

    # ------------------------------------------------------------------ life

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend; see docs/stores/redis.md for the URL forms and the options."""
        return cls(parse_options(url, options), namespace)

    def close(self) -> None:
        """Close every connection and wake every waiter."""
        self._waiters.close()
        self._server.close()

    def forget_connections(self) -> None:
        """Drop the parent's connections; they are the parent's to close."""
        self._server.forget()
        self._waiters.forget()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Write the layout's version into `{ns}:meta` when the namespace is new."""
        found, min_compatible = self._server.write(load("migrate"), SCHEMA_VERSION, MIN_COMPATIBLE, int(dry_run))
        if min_compatible > SCHEMA_VERSION:
            raise SchemaError(
                f"the store has layout {found}, which needs version {min_compatible} or newer of it; this process has "
                f"{SCHEMA_VERSION}: upgrade wg-redis"
            )
        statement = f"HSET {self._server.prefix}meta schema_version {SCHEMA_VERSION} min_compatible {MIN_COMPATIBLE}"
        return Migration(
            from_version=found or None,
            to_version=found or SCHEMA_VERSION,
            statements=() if found else (statement,),
            script="" if found else statement,
        )

    def _change(self, script: str, *arguments: Any) -> Any:
        """Run a script that changes something, after creating the schema when there is none."""
        try:
            return self._server.write(load(script), *arguments)
        except SchemaMissingError:
            self.migrate()
            return self._server.write(load(script), *arguments)

    # ------------------------------------------------------------------ producing

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Store a batch."""
        self._check_batch(jobs)
        if connection is not None:
            raise self._unsupported(Capability.TRANSACTIONAL)
        if any(job.unique is not None for job in jobs):
            raise self._unsupported(Capability.UNIQUE)
        if any(job.result_ttl_seconds for job in jobs):
            raise self._unsupported(Capability.RESULTS)
        bodies = [job.body for job in jobs]
        duplicates = set(self._change("enqueue", _moment(now), _records.pack_jobs(jobs), *bodies))
        return [EnqueueResult(job.id, position not in duplicates) for position, job in enumerate(jobs)]

    def _check_batch(self, batch: Sequence[object]) -> None:
        if len(batch) > self.max_batch:
            raise BackendRejectedError(f"a batch holds at most {self.max_batch}, got {len(batch)}")

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
        """Take from the front of each queue."""
        if queues is not None and not queues:
            limit = 0  # the script takes no list for every queue
        try:
            reply = self._change("reserve", _moment(now), worker, request_no, limit, *(queues or ()))
        except LeaseLostError as error:
            raise LeaseLostError(f"worker {worker!r} has no live lease", worker=worker) from error
        return _records.reserved_jobs(reply)

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply a batch of outcomes."""
        lost = self._change("report", _moment(now), worker, request_no, _records.pack_outcomes(outcomes))
        applied = [Applied.APPLIED] * len(outcomes)
        for position in lost:
            applied[position] = Applied.LOST
        return applied

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Renew leases."""
        paused, *answers = self._change("beat", _moment(now), _records.pack_beats(workers))
        return BeatAnswer(
            news={beat.worker: _news(answer) for beat, answer in zip(workers, answers, strict=True)},
            paused=frozenset(queue.decode() for queue in paused),
        )

    def held(self, worker: str) -> list[tuple[str, int]]:
        """Read the hash of what the worker runs."""
        reply = self._server.read(load("held"), worker)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [(job_id.decode(), _records.decode_hold(hold)[0]) for job_id, hold in pairs]

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Settle everything the worker holds."""
        reply = self._change("retire", _moment(now), worker, reason, _records.pack(list(started)))
        return [_rescued(settled) for settled in reply]

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Settle jobs of workers that are gone, those whose lease ended first before the others."""
        return [_rescued(settled) for settled in self._change("rescue", _moment(now), max(0, limit), rescuer or "")]

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Move what is due; at most 1,000 jobs a call."""
        moved, next_due = self._change("promote", _moment(now), min(max(0, limit), self.max_batch))
        return Promoted(moved=moved, next_due_seconds=None if next_due < 0 else next_due / 1000)

    # ------------------------------------------------------------------ waiting

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """Block in BLPOP on a connection of its own until a job of these queues becomes ready."""
        self._waiters.wait(queues, timeout_seconds)

    def interrupt(self) -> None:
        """End the waits that are going on, or else the next one; does no I/O with the store."""
        self._waiters.interrupt()

    # ------------------------------------------------------------------ inspect

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        """Look the jobs up."""
        return _inspect.get(self._server, ids)

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        """Read on in the index of the state; running jobs come by worker, then by id."""
        return _inspect.find(self._server, where, cursor, limit) if limit > 0 else JobPage()

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        """Read lengths, which are exact at either level; `exact` walks the other indexes to count them by queue."""
        return _inspect.stats(self._server, level, _moment(now))

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        """Read the known workers in the order of their registration."""
        return _inspect.workers(self._server)

    def health(self) -> Health:
        """Ask the server how it is and whether its settings suit a queue; works where CONFIG is forbidden."""
        return health(self._server)

    # ------------------------------------------------------------------ alter and pause

    def alter(
        self,
        ids: Sequence[str],
        action: Action,
        *,
        expected: frozenset[JobState] | None = None,
        now: Timestamp | None = None,
    ) -> AlterResult:
        """Change jobs by id."""
        self._check_batch(ids)
        once = list(dict.fromkeys(ids))
        return _alter.result(once, self._change("alter", _moment(now), *_alter.arguments(action, expected), *once))

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        """Remove what is too old, too many or expired; at most 1,000 jobs a call."""
        removed = self._change("prune", _moment(now), min(max(0, limit), self.max_batch), *_alter.retention(policy))
        return int(removed)

    def pause(self, queue: str) -> None:
        """Add the queue to the paused ones."""
        self._change("pause", queue, "pause")

    def resume(self, queue: str) -> None:
        """Take the queue from the paused ones and wake its waiters."""
        self._change("pause", queue, "resume")


def _moment(now: Timestamp | None) -> Timestamp | str:
    return "" if now is None else now


def _news(answer: Sequence[Any]) -> WorkerNews:
    lost, ids, holds = answer
    cancels = [(job_id.decode(), _records.decode_hold(hold)[0]) for job_id, hold in zip(ids, holds, strict=False)]
    return WorkerNews(lease_lost=bool(lost), cancels=tuple(cancels))


def _rescued(settled: Sequence[Any]) -> Rescued:
    job_id, name, worker, state, charged = settled
    return Rescued(
        id=job_id.decode(),
        name=name.decode(),
        worker=worker.decode(),
        state=JobState(state.decode()),
        charged=bool(charged),
    )
