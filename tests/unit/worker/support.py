"""What the tests of the worker share: jobs, a store to look into, and waiting for what must come."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from wg_core import Client, JobFunction, JobOptions, job
from wg_core._held import HeldJob, Lease
from wg_core._store_watch import StoreWatch
from wg_core.envelope import Envelope, encode_envelope
from wg_core.handlers import HandlerRegistry
from wg_core.job import JobRecord, JobState, NewJob, ReservedJob
from wg_core.protocol import JobFilter, WorkerBeat
from wg_core.testing.faults import FaultyBackend

PATIENCE_SECONDS = 60.0
"""Far more than anything takes: reached only when something is broken."""


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true value of the condition; fail when there is none for a long time."""
    until = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"never true: {condition}")
        pause.wait(0.005)
    return value


def handler(body: Callable[..., Any], **options: Any) -> JobFunction[..., Any]:
    """Make a handler that no other test knows."""
    return job(registry=HandlerRegistry(), **options)(body)


def reserved(**changes: Any) -> ReservedJob:
    """A reserved job as a store would hand it out."""
    attributes: dict[str, Any] = {
        "id": "j1", "name": "work", "queue": "default", "priority": 0, "body": body_of(), "attempt": 1,
        "lease_no": 1, "max_retries": 3, "enqueued_at": 1_000, "reserved_at": 2_000,
    }  # fmt: skip
    return ReservedJob(**{**attributes, **changes})


def body_of(args: dict[str, Any] | None = None, **envelope: Any) -> bytes:
    raw = msgspec.Raw(msgspec.json.encode(args or {}))
    return encode_envelope(Envelope(**{"v": 1, "args": raw, **envelope}))


class Store:
    """What the tests do with the store under the pool."""

    def __init__(self, backend: FaultyBackend) -> None:
        self.backend = backend
        self.client = Client(backend)
        self.watch = StoreWatch()

    def enqueue(self, function: JobFunction[..., Any], *args: Any, **options: Any) -> str:
        return self.client.enqueue(function.job(*args), options=JobOptions.of(**options)).id

    def put(self, name: str = "work", **attributes: Any) -> str:
        job_id = attributes.pop("id", uuid.uuid4().hex)
        self.backend.inner.enqueue([NewJob(id=job_id, name=name, body=attributes.pop("body", body_of()), **attributes)])
        return job_id

    def record(self, job_id: str) -> JobRecord | None:
        found = self.backend.inner.get([job_id])
        return found[0] if found else None

    def state(self, job_id: str) -> JobState | None:
        record = self.record(job_id)
        return None if record is None else record.state

    def jobs(self, state: JobState) -> list[JobRecord]:
        return list(self.backend.inner.find(JobFilter(state=state)).jobs)

    def is_empty(self) -> bool:
        """Ask for all states at once: a job that moves between two questions would be in neither answer."""
        stats = self.backend.inner.stats()
        return not (stats.ready + stats.scheduled + stats.retry + stats.running + stats.dead)

    def lease(self, worker: str = "w1") -> Lease:
        """A registered worker without a pool around it."""
        self.backend.inner.beat([WorkerBeat(worker=worker, lease_seconds=30.0, first=True)])
        return Lease(self.backend, worker, self.watch)

    def let_lease_end(self, worker: str) -> None:
        """Let the lease of a worker run out within a moment, as if it had not beaten for long."""
        self.backend.inner.beat([WorkerBeat(worker=worker, lease_seconds=0.001)])

    def hold(self, lease: Lease, **attributes: Any) -> HeldJob:
        """Put one job and reserve it."""
        self.put(**attributes)
        (held,) = lease.reserve(None, 1)
        return held
