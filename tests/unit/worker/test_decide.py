"""The decision about an attempt is a pure function, so its rules are a table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.worker.support import reserved
from wg_core.errors import JobCancelled, JobError, JobTimeout
from wg_core.outcome import Ack, Bury, Cancel, Ending, Release, Retry, TimeoutStep, decide, decide_unfinished


def ending(**changes: Any) -> Ending:
    facts: dict[str, Any] = {"worker": "w1", "started_at": 10, "ended_at": 20, "retry_delay": 10.0, "timeout": 60.0}
    return Ending(**{**facts, **changes})


FAILED = ValueError("no")

TABLE = [
    # job, error, ending, outcome
    ({}, None, {}, Ack),
    ({}, None, {"cancelled": True}, Ack),
    ({"at_most_once": True}, None, {}, Ack),
    ({"attempt": 9}, None, {}, Ack),
    ({}, FAILED, {}, Retry),
    ({"attempt": 3}, FAILED, {}, Retry),
    ({"attempt": 4}, FAILED, {}, Bury),
    ({"max_retries": 0}, FAILED, {}, Bury),
    ({"at_most_once": True}, FAILED, {}, Bury),
    ({}, JobError.fatal("no"), {}, Bury),
    ({}, JobError.retryable("no"), {}, Retry),
    ({"attempt": 4}, JobError.retryable("no"), {}, Bury),
    ({}, JobTimeout("late"), {}, Retry),
    ({}, SystemExit(3), {}, Retry),
    ({}, KeyboardInterrupt(), {}, Retry),
    ({}, JobCancelled("stop"), {}, Cancel),
    ({}, JobCancelled("stop"), {"cancelled": True}, Cancel),
    ({"attempt": 4}, FAILED, {"cancelled": True}, Cancel),
    ({"at_most_once": True}, FAILED, {"cancelled": True}, Cancel),
    ({}, None, {"lease_lost": True}, type(None)),
    ({}, FAILED, {"lease_lost": True}, type(None)),
    ({}, JobError.fatal("no"), {"lease_lost": True}, type(None)),
    ({}, FAILED, {"lease_lost": True, "cancelled": True}, type(None)),
]


@pytest.mark.parametrize(("job", "error", "facts", "expected"), TABLE)
def test_each_end_of_an_attempt_has_one_outcome(
    job: dict[str, Any], error: BaseException | None, facts: dict[str, Any], expected: type
) -> None:
    outcome = decide(reserved(**job), error, ending(**facts))
    assert type(outcome) is expected
    if outcome is not None:
        assert (outcome.id, outcome.lease_no) == ("j1", 1)


def test_the_backoff_follows_the_attempt_and_the_chance() -> None:
    retry = decide(reserved(attempt=3), FAILED, ending(retry_delay=2.0), chance=1.0)
    assert isinstance(retry, Retry)
    assert retry.delay_seconds == pytest.approx(8.8)


@pytest.mark.parametrize("delay", [0.0, 5.0, 7_200.0])
def test_an_error_may_name_its_own_delay(delay: float) -> None:
    retry = decide(reserved(), JobError.retryable("later", delay=delay), ending())
    assert isinstance(retry, Retry)
    assert retry.delay_seconds == delay


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf"), 1e300, "5"])
def test_a_delay_that_makes_no_sense_gives_way_to_the_backoff(delay: Any) -> None:
    retry = decide(reserved(), JobError.retryable("later", delay=delay), ending())
    assert isinstance(retry, Retry)
    assert retry.delay_seconds == 10.0


def test_the_record_tells_who_when_and_why() -> None:
    bury = decide(reserved(attempt=4), FAILED, ending())
    assert isinstance(bury, Bury)
    record = bury.record
    assert (record.attempt, record.outcome, record.worker) == (4, "dead", "w1")
    assert (record.started_at, record.ended_at) == (10, 20)
    assert (record.error_type, record.error_message) == ("ValueError", "no")


@pytest.mark.parametrize("step", list(TimeoutStep))
def test_the_record_says_which_step_of_the_timeout_ended_the_job(step: TimeoutStep) -> None:
    retry = decide(reserved(), JobTimeout("late"), ending(timeout_step=step))
    assert isinstance(retry, Retry)
    assert retry.record.error_type == "JobTimeout"
    assert retry.record.error_message == f"the timeout of 60.0 s passed; {step.value}"


def test_an_error_during_the_clean_up_after_a_timeout_keeps_its_name_and_names_the_timeout() -> None:
    retry = decide(reserved(), FAILED, ending(timeout_step=TimeoutStep.RAISED))
    assert isinstance(retry, Retry)
    assert retry.record.error_type == "ValueError"
    assert "the timeout of 60.0 s passed" in (retry.record.error_message or "")


@pytest.mark.parametrize(
    ("job", "facts", "expected"),
    [
        ({}, {}, Release),
        ({"attempt": 4}, {}, Release),
        ({"at_most_once": True}, {}, Bury),
        ({}, {"cancelled": True}, Cancel),
        ({"at_most_once": True}, {"cancelled": True}, Cancel),
        ({}, {"lease_lost": True}, type(None)),
    ],
)
def test_a_job_that_is_broken_off_goes_back_unless_it_may_start_only_once(
    job: dict[str, Any], facts: dict[str, Any], expected: type
) -> None:
    assert type(decide_unfinished(reserved(**job), ending(**facts))) is expected


def test_a_job_of_one_start_that_was_broken_off_is_buried_with_the_reason() -> None:
    bury = decide_unfinished(reserved(at_most_once=True), ending())
    assert isinstance(bury, Bury)
    assert bury.record.outcome == "dead"
    assert "the worker stopped" in (bury.record.error_message or "")
