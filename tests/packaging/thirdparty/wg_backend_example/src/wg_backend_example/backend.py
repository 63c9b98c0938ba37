"""The contract of wg on an SQLite file: the core tier, and delays, pauses, many processes, durability."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Row
from typing import Any, ClassVar, Self

from wg_backend_example.store import SCHEMA, SCHEMA_VERSION, Step, Store
from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, BackendUnavailableError, ConfigError, LeaseLostError
from wg_core.history import AttemptRecord, append_line, encode_record, vanished
from wg_core.job import EnqueueResult, JobState, NewJob, ReservedJob, Timestamp, check_timestamp, milliseconds
from wg_core.outcome import Ack, Applied, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import BeatAnswer, Capability, Migration, Promoted, Rescued, WorkerBeat, WorkerNews

POLL_SECONDS = 0.05
_ENDS_HOLD = "worker = NULL, reserve_no = NULL, reserved_at = NULL, started = 0"
_FENCE = "WHERE id = ? AND worker = ? AND lease_no = ?"


class ExampleBackend(Backend):
    """Jobs in the file FOLDER/NAMESPACE.sqlite3, for URLs of the form example:FOLDER."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.DELAY, Capability.PAUSE, Capability.MULTI_PROCESS, Capability.DURABLE}
    )

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._woken = threading.Event()

    # ------------------------------------------------------------------ life

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend; the file is made at its first use."""
        folder, _, query = url.partition(":")[2].partition("?")
        if options or query:
            raise ConfigError(f"example: takes no options, got {', '.join(options) or query!r}")
        if not folder:
            raise ConfigError("example: needs a folder, as in example:/var/lib/jobs")
        return cls(Store(Path(folder) / f"{namespace}.sqlite3"))

    def close(self) -> None:
        """Close the file and wake the waiters."""
        self._store.close()
        self._woken.set()

    def forget_connections(self) -> None:
        """Go on with a connection of the child's own."""
        self._store.forget()
        self._woken = threading.Event()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Make the tables if they are missing."""
        before = self._store.schema_version()
        if before is None and not dry_run:
            with self._store.step():
                pass
        return Migration(from_version=before, to_version=SCHEMA_VERSION, statements=SCHEMA if before is None else ())

    # ------------------------------------------------------------------ producing

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Insert the jobs whose ids are new."""
        if len(jobs) > self.max_batch:
            raise BackendRejectedError(f"a batch holds at most {self.max_batch} jobs, got {len(jobs)}")
        if connection is not None:
            raise self._unsupported(Capability.TRANSACTIONAL)
        if any(job.unique is not None for job in jobs):
            raise self._unsupported(Capability.UNIQUE)
        if any(job.result_ttl_seconds for job in jobs):
            raise self._unsupported(Capability.RESULTS)
        with self._store.step(now) as step:
            return [EnqueueResult(job.id, _insert(step, job)) for job in jobs]

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
        """Mark jobs with the worker and the request's number: the answer to a repeated request is in the rows."""
        with self._store.step(now) as step:
            holder = _live_worker(step, worker)
            if holder is None:
                raise LeaseLostError(f"worker {worker!r} has no live lease", worker=worker)
            order = _rotated(step, request_no) if queues is None else list(queues)
            if _is_new(request_no, holder["reserve_no"]):
                step.run("UPDATE workers SET reserve_no = ? WHERE id = ?", request_no, worker)
                _claim(step, order, max(0, limit), worker, request_no)
            rows = step.rows("SELECT * FROM jobs WHERE worker = ? AND reserve_no = ?", worker, request_no)
            rows.sort(key=lambda row: (order.index(row["queue"]), -row["priority"], row["sequence"]))
            return [_reserved(row) for row in rows]

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply each outcome where its fence holds, and keep the answer with the worker."""
        with self._store.step(now) as step:
            holder = step.row("SELECT * FROM workers WHERE id = ?", worker)
            if holder is None:
                return [Applied.LOST] * len(outcomes)
            if not _is_new(request_no, holder["report_no"]):
                return [Applied(answer) for answer in holder["report_answer"].split()]
            answers = [_apply(step, worker, outcome) for outcome in outcomes]
            step.run(
                "UPDATE workers SET report_no = ?, report_answer = ? WHERE id = ?",
                *(request_no, " ".join(answers), worker),
            )
            return answers

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Move the lease's end; there are no cancels to tell of."""
        with self._store.step(now) as step:
            news = {beat.worker: WorkerNews(lease_lost=not _renew(step, beat)) for beat in workers}
            paused = frozenset(row["name"] for row in step.rows("SELECT name FROM queues WHERE paused"))
            return BeatAnswer(news=news, paused=paused)

    def held(self, worker: str) -> list[tuple[str, int]]:
        """Read the rows that carry the worker's name."""
        with self._store.step() as step:
            return [tuple(row) for row in step.rows("SELECT id, lease_no FROM jobs WHERE worker = ?", worker)]

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Settle all jobs of the worker, and delete it."""
        begun = set(started)
        with self._store.step(now) as step:
            rows = step.rows("SELECT * FROM jobs WHERE worker = ? ORDER BY sequence", worker)
            step.run("DELETE FROM workers WHERE id = ?", worker)
            return [
                _settle(step, row, reason, had_started=bool(row["started"]) or (row["id"], row["lease_no"]) in begun)
                for row in rows
            ]

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Settle jobs of workers whose lease is over, and delete those that hold nothing more."""
        with self._store.step(now) as step:
            if rescuer is not None and _live_worker(step, rescuer) is None:
                return []
            step.run("UPDATE workers SET gone = 1 WHERE lease_until <= ?", step.now)
            rows = step.rows(
                "SELECT jobs.* FROM workers JOIN jobs ON jobs.worker = workers.id WHERE workers.gone"
                " ORDER BY workers.lease_until, jobs.sequence LIMIT ?",
                max(0, limit),
            )
            rescued = [
                _settle(step, row, f"the lease of worker {row['worker']} ran out", had_started=_may_have_started(row))
                for row in rows
            ]
            step.run("DELETE FROM workers WHERE gone AND id NOT IN (SELECT worker FROM jobs WHERE worker IS NOT NULL)")
            return rescued

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Give due jobs a new place at the tail of their queue."""
        with self._store.step(now) as step:
            due = step.rows(
                "SELECT id FROM jobs WHERE run_at <= ? ORDER BY run_at, sequence LIMIT ?", step.now, max(0, limit)
            )
            for row in due:
                step.run(
                    "UPDATE jobs SET state = 'ready', run_at = NULL, sequence = ? WHERE id = ?",
                    *(step.next_sequence(), row["id"]),
                )
            first = step.row("SELECT run_at FROM jobs WHERE run_at IS NOT NULL ORDER BY run_at LIMIT 1")
            seconds = None if first is None else max(0, first["run_at"] - step.now) / 1000
            return Promoted(moved=len(due), next_due_seconds=seconds)

    # ------------------------------------------------------------------ waiting

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """Look again and again: a file wakes nobody."""
        self._store.check_open()
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0 and not self._has_ready(queues):
            if self._woken.wait(min(left, POLL_SECONDS)):
                break
        self._woken.clear()

    def interrupt(self) -> None:
        """Set what the next look notices."""
        self._woken.set()

    def _has_ready(self, queues: Sequence[str] | None) -> bool:
        try:
            with self._store.step() as step:
                return any(
                    step.row("SELECT 1 FROM jobs WHERE state = 'ready' AND queue = ? LIMIT 1", queue)
                    for queue in (_unpaused(step) if queues is None else queues)
                )
        except BackendUnavailableError:
            return False

    # ------------------------------------------------------------------ pause

    def pause(self, queue: str) -> None:
        """Mark the queue, which need not exist yet."""
        with self._store.step() as step:
            step.run("INSERT INTO queues VALUES (?, 1) ON CONFLICT DO UPDATE SET paused = 1", queue)

    def resume(self, queue: str) -> None:
        """Take the mark away."""
        with self._store.step() as step:
            step.run("UPDATE queues SET paused = 0 WHERE name = ?", queue)


def _insert(step: Step, job: NewJob) -> bool:
    run_at = step.now + milliseconds(job.delay_seconds) if job.run_at is None else check_timestamp(job.run_at)
    state, run_at_or_none = ("scheduled", run_at) if run_at > step.now else ("ready", None)
    expires_at = None if job.expires_in_seconds is None else step.now + milliseconds(job.expires_in_seconds)
    step.run("INSERT INTO queues (name) VALUES (?) ON CONFLICT DO NOTHING", job.queue)
    changed = step.run(
        "INSERT INTO jobs (id, name, queue, body, state, priority, sequence, max_retries, at_most_once, enqueued_at,"
        " run_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        *(job.id, job.name, job.queue, job.body, state, job.priority, step.next_sequence()),
        *(job.max_retries, job.at_most_once, step.now, run_at_or_none, expires_at),
    )
    return changed == 1


def _claim(step: Step, queues: Sequence[str], limit: int, worker: str, request_no: int) -> None:
    """Hand the first jobs of the queues to the worker; what expired meanwhile ends here."""
    unpaused = set(_unpaused(step))
    for queue in (name for name in queues if name in unpaused):
        step.run("DELETE FROM jobs WHERE state = 'ready' AND queue = ? AND expires_at <= ?", queue, step.now)
        limit -= step.run(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_no = lease_no + 1,"
            " worker = ?, reserve_no = ?, reserved_at = ? WHERE id IN (SELECT id FROM jobs"
            " WHERE state = 'ready' AND queue = ? ORDER BY priority DESC, sequence LIMIT ?)",
            *(worker, request_no, step.now, queue, limit),
        )


def _live_worker(step: Step, worker: str) -> Row | None:
    return step.row("SELECT * FROM workers WHERE id = ? AND NOT gone AND lease_until > ?", worker, step.now)


def _unpaused(step: Step) -> list[str]:
    return [row["name"] for row in step.rows("SELECT name FROM queues WHERE NOT paused ORDER BY name")]


def _rotated(step: Step, request_no: int) -> list[str]:
    """Return every queue, each time starting at the next one, so that none starves."""
    names = [row["name"] for row in step.rows("SELECT name FROM queues ORDER BY name")]
    first = request_no % len(names) if names else 0
    return names[first:] + names[:first]


def _is_new(request_no: int, last: int) -> bool:
    if request_no < last:
        raise BackendRejectedError(f"request_no must rise: {last} was answered already, got {request_no}")
    return request_no > last


def _apply(step: Step, worker: str, outcome: Outcome) -> Applied:
    fence = (outcome.id, worker, outcome.lease_no)
    match outcome:
        case Ack() | Cancel():
            changed = step.run(f"DELETE FROM jobs {_FENCE}", *fence)
        case Retry():
            changed = _fail(step, fence, "retry", step.now + milliseconds(outcome.delay_seconds), outcome.record)
        case Bury():
            changed = _fail(step, fence, "dead", None, outcome.record)
        case Release():
            changed = _release(step, fence, outcome)
        case Start():
            changed = step.run(f"UPDATE jobs SET started = 1 {_FENCE}", *fence)
        case Progress():
            changed = len(step.rows(f"SELECT 1 FROM jobs {_FENCE}", *fence))
    return Applied.APPLIED if changed else Applied.LOST


def _fail(step: Step, fence: tuple[str, str, int], state: str, run_at: int | None, record: AttemptRecord) -> int:
    row = step.row(f"SELECT history FROM jobs {_FENCE}", *fence)
    history = append_line(row["history"] if row else b"", encode_record(record))
    return step.run(
        f"UPDATE jobs SET state = ?, run_at = ?, history = ?, {_ENDS_HOLD} {_FENCE}", state, run_at, history, *fence
    )


def _release(step: Step, fence: tuple[str, str, int], outcome: Release) -> int:
    state, run_at = ("ready", None)
    if (delay := milliseconds(outcome.delay_seconds)) > 0:
        state, run_at = ("scheduled", step.now + delay)
    return step.run(
        "UPDATE jobs SET state = ?, run_at = ?, attempt = attempt - 1, snoozes = snoozes + ?, bounces = bounces + ?,"
        f" {_ENDS_HOLD} {_FENCE}",
        *(state, run_at, outcome.counts_as is CountsAs.SNOOZE, outcome.counts_as is CountsAs.BOUNCE),
        *fence,
    )


def _renew(step: Step, beat: WorkerBeat) -> bool:
    until = step.now + milliseconds(beat.lease_seconds)
    if beat.first:
        step.run("INSERT INTO workers (id, lease_until) VALUES (?, ?) ON CONFLICT DO NOTHING", beat.worker, until)
    return step.run("UPDATE workers SET lease_until = ? WHERE id = ? AND NOT gone", until, beat.worker) == 1


def _may_have_started(row: Row) -> bool:
    """At-most-once jobs and suspects are marked before they start; of the others nobody can know."""
    return bool(row["started"]) or (row["crashes"] == 0 and not row["at_most_once"])


def _settle(step: Step, row: Row, reason: str, *, had_started: bool) -> Rescued:
    """Take a job from its dead worker; the rules are those of `Backend.rescue`."""
    if had_started:
        state = _charge(step, row, reason)
    else:
        state = JobState.READY
        step.run(f"UPDATE jobs SET state = 'ready', attempt = attempt - 1, {_ENDS_HOLD} WHERE id = ?", row["id"])
    return Rescued(id=row["id"], name=row["name"], worker=row["worker"], state=state, charged=had_started)


def _charge(step: Step, row: Row, reason: str) -> JobState:
    used_up = row["at_most_once"] or row["attempt"] > row["max_retries"]
    state = JobState.DEAD if used_up else JobState.READY
    record = vanished(
        attempt=row["attempt"],
        worker=row["worker"],
        reserved_at=row["reserved_at"],
        ended_at=step.now,
        reason=reason,
    )
    step.run(
        f"UPDATE jobs SET state = ?, crashes = crashes + 1, history = ?, {_ENDS_HOLD} WHERE id = ?",
        *(state, append_line(row["history"], encode_record(record)), row["id"]),
    )
    return state


def _reserved(row: Row) -> ReservedJob:
    names = ("id", "name", "queue", "priority", "body", "attempt", "lease_no", "max_retries")
    counts = ("crashes", "snoozes", "bounces", "enqueued_at", "reserved_at")
    return ReservedJob(at_most_once=bool(row["at_most_once"]), **{name: row[name] for name in (*names, *counts)})
