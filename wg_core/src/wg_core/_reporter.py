"""Sends outcomes to the store in batches, and keeps them until they were answered."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable

from wg_core._failure import error_message, error_name
from wg_core._held import HeldJob, Lease
from wg_core._service import Service
from wg_core.errors import BackendError, BackendRejectedError
from wg_core.history import AttemptRecord
from wg_core.outcome import Applied, Bury, Outcome, Progress, Release, Retry, Start

_log = logging.getLogger("wg.worker")

LINGER_SECONDS = 0.003
"""How long a small batch waits for company while handlers are running."""

BATCH_MOST = 500
"""The most outcomes that one report carries: more per round trip gained nothing on any store."""

LOOK_SECONDS = 1.0
"""A wake-up could only be missed when an exception for a handler hits inside it; then this is the delay."""

Entry = tuple[HeldJob, Outcome]


class Announcement:
    """A Start on its way to the store, and its answer."""

    __slots__ = ("_answer", "_answered")

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._answer: Applied | None = None

    def settle(self, answer: Applied) -> None:
        """The store answered."""
        self._answer = answer
        self._answered.set()

    def wait(self, timeout_seconds: float) -> Applied | None:
        """Return the answer, or None when there is none within the time."""
        self._answered.wait(timeout_seconds)
        return self._answer


class Reporter(Service):
    """Outcomes of all executors. `submit` may be called from any thread and never blocks."""

    name = "reporter"

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.on_answer: threading.Event | None = None
        """Set after each answered report: whoever waits for fewer unreported outcomes looks again."""
        self.on_delay: Callable[[float], None] | None = None
        """Called with the shortest delay of the jobs that were just made to wait for their time."""
        self._full_at = min(batch_size, BATCH_MOST)
        self._outcomes: deque[Entry] = deque()
        self._urgent = threading.Event()
        self._announcements: dict[HeldJob, Announcement] = {}
        self._is_abandoned = False
        # Only the reporter's thread writes these.
        self._batch: list[Entry] = []
        self._alone = 0
        """How many of the oldest outcomes go one at a time, because the store refused a batch with them."""

    @property
    def unreported(self) -> int:
        """How many outcomes wait for their answer."""
        return len(self._outcomes) + len(self._batch)

    def submit(self, held: HeldJob, outcome: Outcome) -> None:
        """Take the outcome of a job; it is reported soon, in the order of the submits."""
        self._outcomes.append((held, outcome))
        self.wake()
        if len(self._outcomes) >= self._full_at:
            self.flush()

    def submit_progress(self, held: HeldJob) -> None:
        """Send the newest progress of a running job; the value is read when the batch is made."""
        if not held.is_over:
            self.submit(held, Progress(id=held.job.id, lease_no=held.job.lease_no, value=b""))

    def announce(self, held: HeldJob) -> Announcement:
        """Report the Start of a job at once and return where its answer will be."""
        announcement = self._announcements[held] = Announcement()
        self.submit(held, Start(id=held.job.id, lease_no=held.job.lease_no))
        self.flush()
        return announcement

    def flush(self) -> None:
        """Send what there is without waiting for company."""
        if not self._urgent.is_set():
            self._urgent.set()

    def stop(self) -> None:
        """Ask the reporter to end once everything was reported."""
        self.flush()
        super().stop()

    def abandon(self) -> None:
        """Ask the reporter to end although something is unreported: the store is away and the time is over."""
        self._is_abandoned = True
        self.stop()

    def run_once(self) -> float:
        """Report one batch. After an error the next run repeats the same batch under the same number."""
        if not self._batch:
            if not self._outcomes:
                return LOOK_SECONDS
            if len(self._outcomes) < self._full_at and not self.is_stopping:
                self._urgent.wait(LINGER_SECONDS)
            self._urgent.clear()
            self._batch = self._next_batch()
        self._send(self._batch)
        self._batch = []
        if self.on_answer is not None and not self.on_answer.is_set():
            self.on_answer.set()
        return 0.0 if self._outcomes else LOOK_SECONDS

    def _next_batch(self) -> list[Entry]:
        """The oldest outcomes of one lease: each lease numbers its own reports."""
        lease = self._outcomes[0][0].lease
        batch: list[Entry] = []
        most = 1 if self._alone else BATCH_MOST
        self._alone = max(0, self._alone - 1)
        while self._outcomes and len(batch) < most and self._outcomes[0][0].lease is lease:
            held, outcome = self._outcomes.popleft()
            if type(outcome) is Progress:
                held.is_progress_waiting = False  # before the look: a newer value is either seen or sent again
                outcome = Progress(id=outcome.id, lease_no=outcome.lease_no, value=held.progress)
            batch.append((held, outcome))
        return batch

    def _send(self, batch: list[Entry]) -> None:
        lease = batch[0][0].lease
        if lease.lost:
            self._settle(lease, batch, [Applied.LOST] * len(batch))
            return
        try:
            answers = lease.report([outcome for _, outcome in batch])
        except BackendRejectedError as refusal:
            self._handle_refusal(batch, refusal)
        except BackendError:
            raise
        except Exception:
            self._set_aside(batch)
            raise
        else:
            self._settle(lease, batch, answers)

    def _settle(self, lease: Lease, batch: list[Entry], answers: list[Applied]) -> None:
        soonest = math.inf
        lost: list[Entry] = []
        for (held, outcome), answer in zip(batch, answers, strict=True):
            kind = type(outcome)
            if kind is Start:
                self._announcements.pop(held).settle(answer)
            elif kind is not Progress:
                lease.forget(held)
            if isinstance(outcome, Retry | Release) and outcome.delay_seconds > 0:
                soonest = min(soonest, outcome.delay_seconds)
            if answer is not Applied.APPLIED and kind is not Progress:  # what becomes of the job will tell
                lost.append((held, outcome))
        _log_lost(lost)
        if soonest < math.inf and self.on_delay is not None:
            self.on_delay(soonest)

    def _handle_refusal(self, batch: list[Entry], refusal: BackendRejectedError) -> None:
        """One outcome that the store refuses must not take its neighbours along, nor strand its job."""
        if len(batch) > 1:
            self._send_alone(batch)
            return
        held, outcome = batch[0]
        _log.error("%s: the store refused %s: %s", held, type(outcome).__name__, refusal)
        if isinstance(outcome, Start | Progress | Bury):
            self._settle(held.lease, batch, [Applied.LOST])
        else:
            self._outcomes.appendleft((held, _bury_instead(held, outcome, refusal)))

    def _set_aside(self, batch: list[Entry]) -> None:
        """The backend itself failed, with an error that is none of the contract's: let the other outcomes pass."""
        self._batch = []
        if len(batch) > 1:
            self._send_alone(batch)
        else:
            self._outcomes.append(batch[0])

    def _send_alone(self, batch: list[Entry]) -> None:
        self._outcomes.extendleft(reversed(batch))
        self._alone = len(batch)

    def _is_done(self) -> bool:
        return self.is_stopping and (self._is_abandoned or not self.unreported)


def _log_lost(lost: list[Entry]) -> None:
    if not lost:
        return
    held, outcome = lost[0]
    others = f"; nor were {len(lost) - 1} other outcomes" if len(lost) > 1 else ""
    _log.warning("%s: its lease was lost, so %s was not recorded%s", held, type(outcome).__name__, others)


def _bury_instead(held: HeldJob, outcome: Outcome, refusal: BackendRejectedError) -> Bury:
    record = AttemptRecord(
        attempt=held.job.attempt,
        outcome="dead",
        worker=held.lease.worker,
        error_type=error_name(refusal),
        error_message=f"the store refused {type(outcome).__name__} of this attempt: {error_message(refusal)}",
    )
    return Bury(id=held.job.id, lease_no=held.job.lease_no, record=record)
