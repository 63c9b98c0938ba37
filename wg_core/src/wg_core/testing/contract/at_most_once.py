"""Jobs that rather never run than twice. Invariant 8: they never start twice, also across crashes."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import Capability
from wg_core.testing.contract._actors import (
    NewWorker,
    Producer,
    Reaper,
    Worker,
    record_of,
)
from wg_core.testing.contract._capabilities import requires


def test_an_at_most_once_job_that_started_never_runs_again_when_its_lease_ran_out(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", at_most_once=True)
    worker.start(worker.take("a"))
    assert reaper.lease_runs_out(worker)["a"].state is JobState.DEAD
    assert new_worker().reserve() == []


def test_an_at_most_once_job_that_had_not_started_is_given_back_when_its_lease_ran_out(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", at_most_once=True)
    worker.take("a")
    rescued = reaper.lease_runs_out(worker)["a"]
    assert (rescued.state, rescued.charged) == (JobState.READY, False)
    job = new_worker().take("a")
    assert (job.attempt, job.lease_no, job.crashes) == (1, 2, 0)


@pytest.mark.parametrize("marked", [True, False])
def test_an_at_most_once_job_that_started_never_runs_again_when_its_worker_was_killed(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper, *, marked: bool
) -> None:
    put("a", at_most_once=True)
    job = worker.take("a")
    if marked:
        worker.start(job)
        rescued = reaper.killed(worker)
    else:
        rescued = reaper.killed(worker, job)
    assert rescued["a"].state is JobState.DEAD
    assert new_worker().reserve() == []


def test_an_at_most_once_job_that_had_not_started_is_given_back_when_its_worker_was_killed(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", at_most_once=True)
    worker.take("a")
    assert reaper.killed(worker)["a"].state is JobState.READY
    assert new_worker().take("a").attempt == 1


@requires(Capability.INSPECT)
def test_an_at_most_once_job_that_crashed_keeps_the_record_of_it(
    put: Producer, worker: Worker, reaper: Reaper, backend: Backend
) -> None:
    put("a", at_most_once=True)
    worker.start(worker.take("a"))
    reaper.lease_runs_out(worker)
    (record,) = record_of(backend, "a").history
    assert (record.outcome, record.worker, record.attempt) == ("crashed", worker.id, 1)
