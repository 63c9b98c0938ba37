"""What is remembered of each ended attempt, and its form in the store.

A history is newline-delimited JSON, one `AttemptRecord` a line, appended by the transition that ends the
attempt (Retry, Bury, Cancel, a retire or a rescue). Append-only lines let every store add one without reading
the others. A backend keeps at least the newest `HISTORY_KEEP_BYTES`, and the newest line whole, and may cut what is
older, even in the middle of a line: `decode_history` skips a broken first line.
"""

from __future__ import annotations

import msgspec

from wg_core.errors import BackendRejectedError

HISTORY_KEEP_BYTES = 65_536
"""A backend may drop older bytes of a history that grew beyond this."""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ended attempt. Times are milliseconds since the epoch, UTC."""

    attempt: int
    outcome: str
    """retry, dead, cancelled, or crashed (the worker vanished)."""
    worker: str
    started_at: int | None = None
    ended_at: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AttemptRecord)


def encode_record(record: AttemptRecord) -> bytes:
    """Return the record as one line of JSON, newline included; BackendRejectedError when it holds lone surrogates."""
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError as error:
        raise BackendRejectedError(f"the record of an attempt must be text that has UTF-8: {error}") from error


def append_line(history: bytes | None, line: bytes) -> bytes:
    """Return the history with one more encoded record; beyond `HISTORY_KEEP_BYTES` the oldest bytes go."""
    return ((history or b"") + line)[-max(HISTORY_KEEP_BYTES, len(line)) :]


def decode_history(history: bytes | None) -> tuple[AttemptRecord, ...]:
    """Return the records of a stored history, oldest first; a first line that was cut is skipped."""
    if not history:
        return ()
    records = []
    for number, line in enumerate(history.splitlines()):
        try:
            records.append(_decoder.decode(line))
        except msgspec.DecodeError:
            if number:
                raise
    return tuple(records)


def vanished(*, attempt: int, worker: str, reserved_at: int, ended_at: int, reason: str) -> AttemptRecord:
    """Return the record of an attempt whose worker died: written by retire and rescue."""
    return AttemptRecord(
        attempt=attempt,
        outcome="crashed",
        worker=worker,
        started_at=reserved_at,
        ended_at=ended_at,
        error_type="WorkerVanished",
        error_message=reason,
    )
