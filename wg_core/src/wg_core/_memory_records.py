"""What a memory store keeps of jobs, workers and queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from wg_core._sorted_keys import SortedKeys
from wg_core.errors import BackendRejectedError
from wg_core.history import AttemptRecord, append_line, encode_record
from wg_core.job import JobState, NewJob, Timestamp
from wg_core.outcome import Applied

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class StoredJob:
    """A job with everything the store knows of it."""

    new: NewJob
    priority: int
    enqueued_at: Timestamp
    expires_at: Timestamp | None
    state: JobState
    run_at: Timestamp | None = None
    sequence: int = 0
    ready_at: Timestamp = 0
    attempt: int = 0
    lease_no: int = 0
    crashes: int = 0
    snoozes: int = 0
    bounces: int = 0
    holder: StoredWorker | None = None
    reserved_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    started: bool = False
    cancel_requested: bool = False
    progress: bytes | None = None
    history: bytes = b""
    entry: JobEntry | None = None
    expiry_entry: JobEntry | None = None

    def may_have_started(self) -> bool:
        """Whether its handler started, as far as anybody but its worker knows.

        Suspects (crashes > 0) and at-most-once jobs are marked before they start; of the others nobody can know.
        """
        return self.started or (self.crashes == 0 and not self.new.at_most_once)

    def remember(self, record: AttemptRecord) -> None:
        """Append an ended attempt; what is too old falls off the front."""
        self.history = append_line(self.history, encode_record(record))


JobEntry: TypeAlias = tuple[int, int, StoredJob]
"""(what is ordered by, sequence number, job); the sequence number is unique, so jobs are never compared."""


class Requests(Generic[Answer]):
    """The last numbered request of one kind from one worker, and what it was answered."""

    __slots__ = ("_answer", "_number")

    def __init__(self) -> None:
        self._number = -1
        self._answer: Answer | None = None

    def repeated(self, number: int) -> Answer | None:
        """Return the answer that was given to this number, None when it is a new one; lower ones are refused."""
        if number < self._number:
            raise BackendRejectedError(f"request_no must rise: {self._number} was answered already, got {number}")
        return self._answer if number == self._number else None

    def remember(self, number: int, answer: Answer) -> None:
        """Keep the answer, in place of the one before."""
        self._number, self._answer = number, answer


@dataclass(slots=True, eq=False)
class StoredWorker:
    """A registered worker, what it holds, and its last requests."""

    id: str
    lease_until: Timestamp
    info: bytes | None = None
    gone: bool = False
    held: dict[str, StoredJob] = field(default_factory=dict)
    cancels: dict[str, StoredJob] = field(default_factory=dict)
    reserves: Requests[list[tuple[str, int]]] = field(default_factory=Requests)
    reports: Requests[list[Applied]] = field(default_factory=Requests)

    def lives(self, now: Timestamp) -> bool:
        """Whether its lease is running."""
        return not self.gone and self.lease_until > now

    def still_held(self, reserved: list[tuple[str, int]]) -> list[StoredJob]:
        """Return those of the (id, lease_no) that still run under this worker."""
        jobs = ((self.held.get(job_id), lease_no) for job_id, lease_no in reserved)
        return [job for job, lease_no in jobs if job is not None and job.lease_no == lease_no]


@dataclass(slots=True, eq=False)
class StoredQueue:
    """A queue: its ready jobs in order, how many jobs it has in each state, and how many ended how."""

    ready: SortedKeys[JobEntry] = field(default_factory=SortedKeys)
    counts: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(JobState, 0))
    ended: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(JobState, 0))
