"""What people change, as `alter.lua` and `prune.lua` want it."""

from __future__ import annotations

from collections.abc import Sequence

from wg_core.job import JobState, check_timestamp, milliseconds
from wg_core.protocol import (
    Action,
    AlterResult,
    CancelJobs,
    DeleteJobs,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
)


def arguments(action: Action, expected: frozenset[JobState] | None) -> tuple[str, str, str]:
    """Return the action's name, its argument and the expected states."""
    return *_named(action), " ".join(JobState if expected is None else expected)


def _named(action: Action) -> tuple[str, str]:
    match action:
        case CancelJobs():
            return "cancel", ""
        case RequeueJobs():
            return "requeue", ""
        case DeleteJobs():
            return "delete", ""
        case ReprioritiseJobs():
            return "reprioritise", str(action.priority)
        case RescheduleJobs(run_at=int(run_at)):
            return "reschedule", str(check_timestamp(run_at))
        case RescheduleJobs():
            return "reschedule", f"+{milliseconds(action.delay_seconds)}"


def result(ids: Sequence[str], refusals: Sequence[bytes]) -> AlterResult:
    """Return the answer of `alter.lua` by id."""
    why = {job_id: refusal.decode() for job_id, refusal in zip(ids, refusals, strict=True)}
    return AlterResult(
        changed=tuple(job_id for job_id, refusal in why.items() if not refusal),
        refused={job_id: refusal for job_id, refusal in why.items() if refusal},
    )


def retention(policy: Retention) -> tuple[str, str]:
    """Return how long (milliseconds) and how many dead jobs are kept, empty for no limit."""
    return (
        "" if policy.dead_seconds is None else str(milliseconds(policy.dead_seconds)),
        "" if policy.dead_most is None else str(policy.dead_most),
    )
