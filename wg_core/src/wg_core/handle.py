"""The handle of a job that was sent: where it stands, and how to take it back."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

from wg_core.backend import Backend
from wg_core.errors import ResultNotKeptError
from wg_core.job import JobRecord, JobState
from wg_core.protocol import CancelJobs
from wg_core.settings import Seconds

R = TypeVar("R")


class JobHandle(Generic[R]):
    """A job in a store. Asking it asks the store; making it does not. Thread-safe.

    `id`, `name` and `queue` are as they were sent; with `stored` False a job of that id was there before, and the
    handle stands for that one.
    """

    __slots__ = ("_backend", "id", "name", "queue", "stored")

    def __init__(self, backend: Backend, *, id: str, name: str, queue: str, stored: bool) -> None:  # noqa: A002 - the field's name
        self._backend = backend
        self.id = id
        self.name = name
        self.queue = queue
        self.stored = stored

    @property
    def record(self) -> JobRecord | None:
        """Everything the store knows of the job now; None when it has ended and left no record."""
        records = self._backend.get([self.id])
        return records[0] if records else None

    @property
    def state(self) -> JobState | None:
        """Where the job stands now; None when it has ended and left no record."""
        record = self.record
        return None if record is None else record.state

    def cancel(self) -> bool:
        """Cancel the job; return False when it has ended already.

        One that waits never runs. One that is running is told so within about a heartbeat (2 s), and it is up to its
        handler to stop: see `CurrentJob.cancelled`.
        """
        return cancel_job(self._backend, self.id)

    def result(self, timeout: Seconds | None = None) -> NoReturn:
        """Raise ResultNotKeptError: this version keeps no results, so waiting for one would never end."""
        raise ResultNotKeptError(
            f"job {self.id} {self.name} was enqueued without result_ttl, so its result is not kept", id=self.id
        )

    def __repr__(self) -> str:
        return f"<job {self.id} {self.name} [{self.queue}]>"


def cancel_job(backend: Backend, job_id: str) -> bool:
    """Cancel a job by id; return False when there is none, or it has ended."""
    return job_id in backend.alter([job_id], CancelJobs()).changed
