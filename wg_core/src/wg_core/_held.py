"""The jobs this process holds, and the lease under which it holds them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendError, BackendRejectedError
from wg_core.job import ReservedJob
from wg_core.outcome import Applied, Outcome, Release

JobKey = tuple[str, int]
"""(id, lease_no)."""


class HeldJob:
    """One job from its reserve to the answer to its outcome, and the news about it."""

    __slots__ = ("cancelled", "is_over", "is_progress_waiting", "job", "lease", "progress")

    def __init__(self, job: ReservedJob, lease: Lease) -> None:
        self.job = job
        self.lease = lease
        self.cancelled = False
        """Somebody asked for the job to be cancelled. Set by the thread that hears the news of a beat."""
        self.is_over = False
        """Its outcome was decided; what its handler still says or does no longer counts."""
        self.progress = b"null"
        """The newest value. Writers set it and then look at the flag; who sends it clears the flag and then reads."""
        self.is_progress_waiting = False
        """The newest value is on its way already."""

    @property
    def is_suspect(self) -> bool:
        """Whether a worker died under this job: it may be what killed it."""
        return self.job.crashes > 0

    @property
    def must_announce(self) -> bool:
        """Whether Start must be answered before the handler may run."""
        return self.job.at_most_once or self.job.crashes > 0

    def __str__(self) -> str:
        job = self.job
        return f"job {job.id} {job.name} [{job.queue}] attempt {job.attempt}/{job.max_retries + 1}"


class Lease:
    """The time of one worker id, from its first beat until it is lost or given up; thread-safe.

    Reserve and report are numbered here, one outstanding each: a call that raised is repeated under its number
    until it is answered, so that a lost answer strands nothing. Every job that is held under the lease is known
    here from the moment its reserve is answered until its outcome is.
    """

    def __init__(self, backend: Backend, worker: str, store: StoreWatch) -> None:
        self.worker = worker
        self.lost = False
        """The store gave this worker up. Final; set by whoever hears the news."""
        self.ambiguous_answers = 0
        """How many answers were lost, ever."""
        self._backend = backend
        self._store = store
        self._reserving = threading.Lock()  # guards _reserve_no, _reserve_open
        self._reporting = threading.Lock()  # guards _report_no, _report_open
        self._reserve_no = 1
        self._reserve_open = False
        self._report_no = 1
        self._report_open = False
        self._jobs: dict[JobKey, HeldJob] = {}

    def reserve(self, queues: Sequence[str] | None, limit: int) -> list[HeldJob]:
        """Reserve up to `limit` jobs; after an error the next call repeats this one."""
        with self._reserving:
            try:
                with self._store.call("reserve"):
                    jobs = self._backend.reserve(queues, limit, self.worker, request_no=self._reserve_no)
            except AmbiguousResultError:
                self._reserve_open = True
                self.ambiguous_answers += 1
                raise
            self._reserve_open = False
            if not jobs:
                return []  # an empty answer is not remembered by the store: its number is still free
            self._reserve_no += 1
            held = [HeldJob(job, self) for job in jobs]
            self._jobs.update(((one.job.id, one.job.lease_no), one) for one in held)
            return held

    @property
    def has_open_reserve(self) -> bool:
        """Whether the answer to a reserve was lost, so that it must be repeated: the jobs may be ours already."""
        return self._reserve_open

    def report(self, outcomes: Sequence[Outcome]) -> list[Applied]:
        """Report a batch; after a BackendError (other than a rejection) call again with the very same batch."""
        with self._reporting:
            self._report_open = True
            try:
                with self._store.call("report"):
                    answers = self._backend.report(self.worker, outcomes, request_no=self._report_no)
            except AmbiguousResultError:
                self.ambiguous_answers += 1
                raise
            except BackendError as error:
                if isinstance(error, BackendRejectedError):
                    self._finish_report()
                raise
            except Exception:  # a fault of the backend: the same batch would meet it again
                self._finish_report()
                raise
            self._finish_report()
            return answers

    def find(self, key: JobKey) -> HeldJob | None:
        """Return the held job of (id, lease_no), if there is one."""
        return self._jobs.get(key)

    def forget(self, held: HeldJob) -> None:
        """The outcome of the job was answered: it is no longer held."""
        self._jobs.pop((held.job.id, held.job.lease_no), None)

    def held_jobs(self) -> list[HeldJob]:
        """Return all jobs that are held now, waiting, running or unreported."""
        return list(self._jobs.values())

    @property
    def held_count(self) -> int:
        """How many jobs are held now."""
        return len(self._jobs)

    def unknown_jobs(self) -> set[JobKey] | None:
        """Return what the store holds under this worker and memory does not know.

        None while a reserve or report is unanswered: its repetition will tell. Waits for a call that is going on.
        """
        with self._reserving, self._reporting:
            if self._reserve_open or self._report_open:
                return None
            with self._store.call("held"):
                held = self._backend.held(self.worker)
            return {key for key in held if key not in self._jobs}

    def give_back(self, keys: Iterable[JobKey]) -> None:
        """Release jobs that memory does not know. A lost answer is no harm: they would be found again."""
        outcomes = [Release(id=job_id, lease_no=lease_no) for job_id, lease_no in sorted(keys)]
        with self._reporting:
            if self._report_open:
                return
            self._report_no += 1  # the number is used up, whether it is answered or not
            with self._store.call("report"):
                self._backend.report(self.worker, outcomes, request_no=self._report_no - 1)

    def _finish_report(self) -> None:
        self._report_open = False
        self._report_no += 1
