"""The forms in which jobs travel: msgpack towards the scripts, and the small records of `lua/lib/records.lua` back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from wg_core.errors import BackendRejectedError
from wg_core.history import decode_history, encode_record
from wg_core.job import JobRecord, JobState, NewJob, ReservedJob, check_timestamp, milliseconds
from wg_core.outcome import Ack, Bury, Cancel, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import WorkerBeat


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What the producer said."""

    name: str
    queue: str
    priority: int
    max_retries: int
    at_most_once: int
    enqueued_at: int
    expires_at: int
    """0: never."""


class Run(msgspec.Struct, array_like=True, frozen=True):
    """What has happened to a job since; the defaults are those of a job that was never reserved."""

    worker: str = ""
    lease_no: int = 0
    attempt: int = 0
    crashes: int = 0
    snoozes: int = 0
    bounces: int = 0
    reserved_at: int = 0
    ready_at: int = 0
    score: int = 0


_encoder = msgspec.msgpack.Encoder()
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_run = msgspec.msgpack.Decoder(Run).decode


def pack(value: object) -> bytes:
    """Return msgpack; BackendRejectedError when it holds text that is no Unicode, or numbers over 64 bits."""
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError) as error:
        raise BackendRejectedError(f"this cannot be stored: {error}") from error


def _raw_text(data: bytes) -> msgspec.Raw:
    """Return bytes as a msgpack text: Redis's Lua has one type for both and does not know msgpack's bytes."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def pack_jobs(jobs: Iterable[NewJob]) -> bytes:
    """Return all of a batch but the bodies, as `enqueue.lua` wants it."""
    return pack(
        [
            (
                job.id,
                job.name,
                job.queue,
                job.priority,
                job.max_retries,
                int(job.at_most_once),
                None if job.run_at is None else check_timestamp(job.run_at),
                milliseconds(job.delay_seconds),
                None if job.expires_in_seconds is None else milliseconds(job.expires_in_seconds),
            )
            for job in jobs
        ]
    )


def pack_outcomes(outcomes: Iterable[Outcome]) -> bytes:
    """Return a batch of outcomes as `report.lua` wants it."""
    return pack([_plain(outcome) for outcome in outcomes])


_KINDS: dict[type[Outcome], str] = {
    Ack: "ack",
    Retry: "retry",
    Bury: "bury",
    Release: "release",
    Cancel: "cancel",
    Start: "start",
    Progress: "progress",
}


def _plain(outcome: Outcome) -> tuple[Any, ...]:
    return _KINDS[type(outcome)], outcome.id, outcome.lease_no, *_details(outcome)


def _details(outcome: Outcome) -> tuple[Any, ...]:
    match outcome:
        case Progress():
            return (_raw_text(outcome.value),)
        case Retry():
            return milliseconds(outcome.delay_seconds), _raw_text(encode_record(outcome.record))
        case Bury():
            return (_raw_text(encode_record(outcome.record)),)
        case Release():
            return milliseconds(outcome.delay_seconds), outcome.counts_as.value
        case _:
            return ()


def pack_beats(beats: Iterable[WorkerBeat]) -> bytes:
    """Return signs of life as `beat.lua` wants them."""
    return pack(
        [
            (beat.worker, milliseconds(beat.lease_seconds), int(beat.first), _raw_text(beat.info or b""))
            for beat in beats
        ]
    )


def reserved_jobs(reply: Sequence[Sequence[bytes]]) -> list[ReservedJob]:
    """Return the jobs of an answer of `reserve.lua`."""
    return [
        _reserved_job(job_id, _decode_head(head), body, _decode_run(run))
        for job_id, head, body, run in zip(*reply, strict=True)
    ]


def _reserved_job(job_id: bytes, head: Head, body: bytes, run: Run) -> ReservedJob:
    return ReservedJob(
        id=job_id.decode(),
        name=head.name,
        queue=head.queue,
        priority=head.priority,
        body=body,
        attempt=run.attempt,
        lease_no=run.lease_no,
        max_retries=head.max_retries,
        at_most_once=bool(head.at_most_once),
        crashes=run.crashes,
        snoozes=run.snoozes,
        bounces=run.bounces,
        enqueued_at=head.enqueued_at,
        reserved_at=run.reserved_at,
    )


def job_record(reply: Sequence[Any]) -> JobRecord:
    """Return what `describe` of `lua/lib/find.lua` says of a job."""
    job_id, state_name, score, packed_head, body, packed_run, hold, cancel, progress, history = reply
    head, run = _decode_head(packed_head), _decode_run(packed_run) if packed_run else Run()
    state = JobState(state_name.decode())
    is_running = state is JobState.RUNNING
    return JobRecord(
        id=job_id.decode(),
        name=head.name,
        queue=head.queue,
        state=state,
        priority=head.priority,
        body=body,
        attempt=run.attempt,
        max_retries=head.max_retries,
        lease_no=run.lease_no,
        at_most_once=bool(head.at_most_once),
        crashes=run.crashes,
        snoozes=run.snoozes,
        bounces=run.bounces,
        enqueued_at=head.enqueued_at,
        run_at=int(score) if state in {JobState.SCHEDULED, JobState.RETRY} else None,
        expires_at=head.expires_at or None,
        reserved_at=run.reserved_at if is_running else None,
        ended_at=int(score) if state is JobState.DEAD else None,
        worker=run.worker if is_running else None,
        started=decode_hold(hold)[1] if hold else False,
        cancel_requested=bool(cancel),
        progress=progress,
        history=decode_history(history),
    )


def decode_hold(hold: bytes) -> tuple[int, bool, str]:
    """Return lease_no, whether a Start was reported, and the queue."""
    lease_no, started, queue = hold.split(b" ", 2)
    return int(lease_no), started == b"1", queue.decode()
