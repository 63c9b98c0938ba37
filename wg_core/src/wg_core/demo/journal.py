"""What the demo's handlers and its runner did, as lines of JSON in one file, written apart from the store.

The store cannot vouch for itself, so the summary is computed from this file. Every line is one write to a file
opened for appending: lines of many processes never mix, and a killed process leaves only whole lines.
"""

from __future__ import annotations

import enum
import os
import time
from pathlib import Path

import msgspec


class EventKind(enum.StrEnum):
    """What happened."""

    STARTED = "started"
    PACKED = "packed"
    """The job's work is done."""
    FAILED = "failed"
    """A failure by design: the job is to run again."""
    REFUSED = "refused"
    """The fatal failure by design: the job is to become a dead letter."""
    KILL = "kill"
    """The runner is about to kill a process."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the journal. A run of a job is known by (job, lease_no)."""

    kind: EventKind
    pid: int
    at: float
    """Seconds since the epoch, for people; the order is the order of the lines."""
    file: str = ""
    job: str = ""
    lease_no: int = 0
    bytes_read: int = 0
    bytes_packed: int = 0
    tokens: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def append(
    path: str,
    kind: EventKind,
    *,
    pid: int | None = None,
    file: str = "",
    job: str = "",
    lease_no: int = 0,
    bytes_read: int = 0,
    bytes_packed: int = 0,
    tokens: int = 0,
) -> None:
    """Add one line; `pid` is this process unless given."""
    event = Event(
        kind=kind,
        pid=os.getpid() if pid is None else pid,
        at=time.time(),
        file=file,
        job=job,
        lease_no=lease_no,
        bytes_read=bytes_read,
        bytes_packed=bytes_packed,
        tokens=tokens,
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, _encoder.encode(event) + b"\n")
    finally:
        os.close(descriptor)


class JournalReader:
    """Reads what was added since the last look. Used by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read_new(self) -> list[Event]:
        """Return the events that were added; none while the file does not exist yet."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._position += len(whole)
        return [_decoder.decode(line) for line in whole.splitlines()]
