"""Every store behaves the same: random walks on the backend and on the memory backend get the same answers.

Where the contract leaves a choice (which of two jobs due in the same millisecond comes first, how a reason is
worded, when expired jobs end) the walk keeps out of its way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from wg_core import memory
from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import JobRecord, JobState, NewJob, ReservedJob
from wg_core.outcome import Ack, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import (
    Action,
    CancelJobs,
    Capability,
    DeleteJobs,
    JobFilter,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
    StatsLevel,
    WorkerBeat,
)
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import find_all, new_job
from wg_core.testing.contract._capabilities import requires

STEPS = 250
QUEUES = ("a", "b")
WORKERS = ("w0", "w1", "w2")
STATES = (JobState.READY, JobState.SCHEDULED, JobState.RETRY, JobState.RUNNING, JobState.DEAD)


@pytest.fixture
def reference(namespace: str) -> Iterator[Backend]:
    """The memory backend, empty."""
    with memory.MemoryBackend.open("memory:reference", namespace) as backend:
        yield backend
    memory.clear("memory:reference", namespace)


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("seed", range(6))
def test_any_walk_gets_the_answers_of_the_memory_backend(
    backend: Backend, reference: Backend, clock: Clock, *, seed: int
) -> None:
    walk = Walk(backend, reference, clock, seed)
    for number in range(STEPS):
        walk.step()
        if number % 25 == 0:
            walk.compare_everything()
    walk.compare_everything()


class Walk:
    """Takes every step on both backends, and compares the answers."""

    def __init__(self, backend: Backend, reference: Backend, clock: Clock, seed: int) -> None:
        self._backends = (reference, backend)
        self._clock = clock
        self._dice = random.Random(seed)
        self._last_id = self._request_no = 0
        self._due: set[int] = set()
        self._taken: list[tuple[str, ReservedJob]] = []
        self._moves: dict[Callable[[], object], int] = {
            self._enqueue: 5,
            self._reserve: 6,
            self._report: 6,
            self._beat: 3,
            self._promote: 3,
            self._alter: 2,
            self._retire: 1,
            self._rescue: 1,
        }
        self._answers(lambda backend: backend.enqueue([new_job(name, queue=name) for name in QUEUES], now=clock.now))

    def step(self) -> None:
        """Let some time pass, end what expired, and do something."""
        self._clock.advance(self._dice.choice([0.0, 0.001, 0.3, 2.0]))
        now = self._clock.now
        self._answers(lambda backend: backend.prune(Retention(dead_seconds=60.0), 1_000, now=now))
        self._dice.choices(list(self._moves), list(self._moves.values()))[0]()

    def compare_everything(self) -> None:
        """Compare all that can be known of the two stores."""
        now = self._clock.now
        self._answers(lambda backend: {state: _listed(backend, state) for state in STATES})
        self._answers(lambda backend: {worker: sorted(backend.held(worker)) for worker in WORKERS})
        self._answers(lambda backend: _counts(backend, now))

    def _answers(self, call: Callable[[Backend], object]) -> object:
        expected, answer = (call(backend) for backend in self._backends)
        assert answer == expected
        return answer

    def _next_request_no(self) -> int:
        self._request_no += 1
        return self._request_no

    def _delay(self) -> float:
        """Return a delay that leads to a millisecond in which nothing else is due."""
        while (run_at := self._clock.now + self._dice.randint(1, 5_000)) in self._due:
            pass
        self._due.add(run_at)
        return (run_at - self._clock.now) / 1000

    def _enqueue(self) -> None:
        jobs, now = [self._new_job() for _ in range(self._dice.randint(1, 4))], self._clock.now
        self._answers(lambda backend: backend.enqueue(jobs, now=now))

    def _new_job(self) -> NewJob:
        self._last_id += 1
        known_before = self._dice.random() < 0.2
        return new_job(
            f"{self._dice.randint(1, self._last_id) if known_before else self._last_id}",
            queue=self._dice.choice(QUEUES),
            priority=self._dice.randint(-1, 1),
            delay_seconds=self._delay() if self._dice.random() < 0.4 else 0.0,
            expires_in_seconds=20.0 if self._dice.random() < 0.2 else None,
            max_retries=self._dice.randint(0, 2),
            at_most_once=self._dice.random() < 0.2,
        )

    def _reserve(self) -> None:
        worker, limit, now = self._dice.choice(WORKERS), self._dice.randint(1, 4), self._clock.now
        queues = self._dice.choice([["a"], ["b"], ["a", "b"], ["b", "a"]])
        beat, number = WorkerBeat(worker=worker, lease_seconds=10.0, first=True), self._next_request_no()
        self._settle_lost_workers()
        self._answers(lambda backend: backend.beat([beat], now=now))
        jobs = self._answers(lambda backend: backend.reserve(queues, limit, worker, request_no=number, now=now))
        assert isinstance(jobs, list)
        self._taken += [(worker, job) for job in jobs]

    def _report(self) -> None:
        if not self._taken:
            return
        worker, job = self._taken.pop(self._dice.randrange(len(self._taken)))
        outcome, now, number = self._outcome(worker, job), self._clock.now, self._next_request_no()
        if isinstance(outcome, Start | Progress):
            self._taken.append((worker, job))
        self._answers(lambda backend: backend.report(worker, [outcome], request_no=number, now=now))

    def _outcome(self, worker: str, job: ReservedJob) -> Outcome:
        job_id, no = job.id, job.lease_no
        record = AttemptRecord(attempt=job.attempt, outcome="failed", worker=worker, error_message="x")
        outcomes: Sequence[Outcome] = [
            Ack(id=job_id, lease_no=no),
            Retry(id=job_id, lease_no=no, delay_seconds=self._delay(), record=record),
            Bury(id=job_id, lease_no=no, record=record),
            Release(id=job_id, lease_no=no, counts_as=self._dice.choice(list(CountsAs))),
            Release(id=job_id, lease_no=no, delay_seconds=self._delay()),
            Cancel(id=job_id, lease_no=no),
            Start(id=job_id, lease_no=no),
            Progress(id=job_id, lease_no=no, value=b"1"),
        ]
        return self._dice.choice(outcomes)

    def _beat(self) -> None:
        beats, now = [WorkerBeat(worker=worker, lease_seconds=10.0) for worker in WORKERS], self._clock.now

        def news_of(backend: Backend) -> object:
            answer = backend.beat(beats, now=now)
            return {worker: (news.lease_lost, sorted(news.cancels)) for worker, news in answer.news.items()}

        self._answers(news_of)

    def _promote(self) -> None:
        limit, now = self._dice.randint(1, 5), self._clock.now
        self._answers(lambda backend: backend.promote(limit, now=now))

    def _rescue(self) -> None:
        self._clock.advance(self._dice.choice([0.0, 11.0]))
        self._settle_lost_workers()

    def _settle_lost_workers(self) -> None:
        now = self._clock.now
        self._answers(lambda backend: sorted(backend.rescue(1_000, now=now), key=lambda job: job.id))

    def _retire(self) -> None:
        worker, now = self._dice.choice(WORKERS), self._clock.now
        mine = [(job.id, job.lease_no) for holder, job in self._taken if holder == worker]
        started = self._dice.sample(mine, self._dice.randint(0, len(mine)))
        self._answers(lambda backend: sorted(backend.retire(worker, started, "x", now=now), key=lambda job: job.id))

    def _alter(self) -> None:
        job_id, now = f"{self._dice.randint(1, self._last_id + 1)}", self._clock.now
        actions: list[Action] = [CancelJobs(), RequeueJobs(), DeleteJobs(), ReprioritiseJobs(1), ReprioritiseJobs(-1)]
        action = self._dice.choice([*actions, RescheduleJobs(delay_seconds=self._delay())])
        self._answers(lambda backend: backend.alter([job_id], action, now=now))


def _listed(backend: Backend, state: JobState) -> list[JobRecord]:
    records = [_comparable(record) for record in find_all(backend, JobFilter(state=state))]
    ordered_freely = state in {JobState.RUNNING, JobState.DEAD}  # by id or time; equal times in any order
    return sorted(records, key=lambda record: record.id) if ordered_freely else records


def _comparable(record: JobRecord) -> JobRecord:
    history = tuple(
        msgspec.structs.replace(attempt, error_message=None) if attempt.outcome == "crashed" else attempt
        for attempt in record.history
    )
    return msgspec.structs.replace(record, history=history)


def _counts(backend: Backend, now: int) -> object:
    stats = backend.stats(StatsLevel.EXACT, now=now)
    queues = {name: msgspec.structs.replace(queue, oldest_ready_seconds=None) for name, queue in stats.queues.items()}
    return msgspec.structs.replace(stats, queues=queues)
