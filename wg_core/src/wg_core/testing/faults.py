"""`FaultyBackend`: any backend, made to fail the way stores fail.

::

    faulty = FaultyBackend(backend)
    faulty.lose_answer("report")               # the next report is performed, then reported as a timeout
    faulty.unavailable("reserve", times=3)     # the next three raise before anything happened
    faulty.hold("beat", until=event)           # the next beat waits for the event first
    ...
    assert faulty.hits["report"] == 1          # a fault test proves that its fault really hit

`fail_by_chance(0.1)` lets that share of all calls fail, half of them after they were performed.
"""

from __future__ import annotations

import enum
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_core.job import EnqueueResult, JobRecord, JobState, NewJob, ReservedJob, Timestamp
from wg_core.outcome import Applied, Outcome
from wg_core.protocol import (
    Action,
    AlterResult,
    BeatAnswer,
    Document,
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
    WorkerRecord,
)
from wg_core.registry import open_backend

Answer = TypeVar("Answer")

HOLD_AT_MOST_SECONDS = 60.0
"""A held call goes on after this time, so that a forgotten event does not hang a test."""


class Fault(enum.Enum):
    """What becomes of a call."""

    UNAVAILABLE = "unavailable"
    """Raises BackendUnavailableError; the store never hears of it."""
    LOST_ANSWER = "lost answer"
    """The store performs it, then AmbiguousResultError is raised."""
    HELD = "held"
    """Waits for an event before it is performed."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """A fault for the calls of one method: after `skip` of them, the next `times` (None: all that follow)."""

    method: str
    fault: Fault
    times: int | None = 1
    skip: int = 0
    until: threading.Event | None = None

    def strikes(self, method: str) -> bool:
        """Whether this call is hit; counts it."""
        if method != self.method or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultyBackend(Backend):
    """Wraps an open backend and passes every call on, unless a rule strikes. Thread-safe.

    `calls` counts the calls of each method, `hits` those that a fault struck. `close` closes the inner backend too;
    `close` and `interrupt` never fail.
    """

    def __init__(self, inner: Backend, *rules: Rule, seed: int | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._rules = list(rules)
        self._random = random.Random(seed)
        self._share = 0.0
        # Class attributes of every other backend: this one has those of what it wraps.
        object.__setattr__(self, "capabilities", inner.capabilities)
        object.__setattr__(self, "max_batch", inner.max_batch)

    # ------------------------------------------------------------------ rules

    def unavailable(self, method: str, *, times: int | None = 1, skip: int = 0) -> None:
        """Let calls of the method raise BackendUnavailableError without being performed."""
        self.add(Rule(method=method, fault=Fault.UNAVAILABLE, times=times, skip=skip))

    def lose_answer(self, method: str, *, times: int | None = 1, skip: int = 0) -> None:
        """Let calls of the method be performed and then raise AmbiguousResultError."""
        self.add(Rule(method=method, fault=Fault.LOST_ANSWER, times=times, skip=skip))

    def hold(self, method: str, *, until: threading.Event, times: int | None = 1, skip: int = 0) -> None:
        """Let calls of the method wait for the event before they are performed."""
        self.add(Rule(method=method, fault=Fault.HELD, times=times, skip=skip, until=until))

    def fail_by_chance(self, share: float) -> None:
        """Let this share of all calls (0 to 1) fail, chosen by the seed: unavailable or their answer lost."""
        with self._lock:
            self._share = share

    def add(self, rule: Rule) -> None:
        """Add a rule behind the others; the first that strikes decides."""
        with self._lock:
            self._rules.append(rule)

    def heal(self) -> None:
        """Drop every rule, chance included."""
        with self._lock:
            self._rules.clear()
            self._share = 0.0

    def _perform(self, method: str, call: Callable[[], Answer]) -> Answer:
        with self._lock:
            self.calls[method] += 1
            rule = self._striking(method)
            if rule is not None:
                self.hits[method] += 1
        if rule is None:
            return call()
        if rule.fault is Fault.UNAVAILABLE:
            raise BackendUnavailableError(f"injected: {method} did not reach the store")
        if rule.until is not None:
            rule.until.wait(HOLD_AT_MOST_SECONDS)
        answer = call()
        if rule.fault is Fault.LOST_ANSWER:
            raise AmbiguousResultError(f"injected: the answer to {method} was lost")
        return answer

    def _striking(self, method: str) -> Rule | None:
        for rule in self._rules:
            if rule.strikes(method):
                return rule
        if self._share and self._random.random() < self._share:
            return Rule(method=method, fault=self._random.choice([Fault.UNAVAILABLE, Fault.LOST_ANSWER]))
        return None

    # ------------------------------------------------------------------ life

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Open the backend of the URL and wrap it."""
        return cls(open_backend(url, namespace=namespace, **options))

    def close(self) -> None:
        self.inner.close()

    def interrupt(self) -> None:
        self.inner.interrupt()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        return self._perform("migrate", partial(self.inner.migrate, dry_run=dry_run))

    # ------------------------------------------------------------------ core tier

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        return self._perform("enqueue", partial(self.inner.enqueue, jobs, connection=connection, now=now))

    def reserve(
        self,
        queues: Sequence[str] | None,
        limit: int,
        worker: str,
        *,
        request_no: int,
        now: Timestamp | None = None,
    ) -> list[ReservedJob]:
        call = partial(self.inner.reserve, queues, limit, worker, request_no=request_no, now=now)
        return self._perform("reserve", call)

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        return self._perform("report", partial(self.inner.report, worker, outcomes, request_no=request_no, now=now))

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        return self._perform("beat", partial(self.inner.beat, workers, now=now))

    def held(self, worker: str) -> list[tuple[str, int]]:
        return self._perform("held", partial(self.inner.held, worker))

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        return self._perform("retire", partial(self.inner.retire, worker, started, reason, now=now))

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        return self._perform("rescue", partial(self.inner.rescue, limit, rescuer=rescuer, now=now))

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        return self._perform("promote", partial(self.inner.promote, limit, now=now))

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        self._perform("wait", partial(self.inner.wait, queues, timeout_seconds))

    # ------------------------------------------------------------------ capabilities

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        return self._perform("get", partial(self.inner.get, ids))

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        return self._perform("find", partial(self.inner.find, where, cursor=cursor, limit=limit))

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        return self._perform("stats", partial(self.inner.stats, level, now=now))

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        return self._perform("workers", partial(self.inner.workers, now=now))

    def health(self) -> Health:
        return self._perform("health", self.inner.health)

    def alter(
        self,
        ids: Sequence[str],
        action: Action,
        *,
        expected: frozenset[JobState] | None = None,
        now: Timestamp | None = None,
    ) -> AlterResult:
        return self._perform("alter", partial(self.inner.alter, ids, action, expected=expected, now=now))

    def alter_found(
        self, where: JobFilter, action: Action, *, cursor: str | None = None, limit: int = 500
    ) -> tuple[AlterResult, str | None]:
        call = partial(self.inner.alter_found, where, action, cursor=cursor, limit=limit)
        return self._perform("alter_found", call)

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        return self._perform("prune", partial(self.inner.prune, policy, limit, now=now))

    def pause(self, queue: str) -> None:
        self._perform("pause", partial(self.inner.pause, queue))

    def resume(self, queue: str) -> None:
        self._perform("resume", partial(self.inner.resume, queue))

    def get_record(self, kind: str, key: str) -> Document | None:
        return self._perform("get_record", partial(self.inner.get_record, kind, key))

    def list_records(self, kind: str) -> list[Document]:
        return self._perform("list_records", partial(self.inner.list_records, kind))

    def set_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        call = partial(self.inner.set_record, kind, key, value, expected_version=expected_version)
        return self._perform("set_record", call)
