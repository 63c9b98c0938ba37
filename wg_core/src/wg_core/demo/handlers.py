"""The demo's job: read one source file, count its tokens, compress it. Imported by the demo's worker."""

from __future__ import annotations

import io
import tokenize
import zlib
from pathlib import Path

from wg_core.context import current_job
from wg_core.demo import journal
from wg_core.demo.journal import EventKind
from wg_core.errors import JobError
from wg_core.handlers import job

MAX_RETRIES = 5


@job(name="wg_demo.pack", max_retries=MAX_RETRIES, retry_delay=0.3, timeout=60)
def pack(file: str, journal_path: str, failures: int = 0, fatal: bool = False) -> None:  # noqa: FBT001 - a parameter of the job
    """Pack one file; fail the first `failures` attempts by design, or for good when `fatal`."""
    this = current_job()

    def note(kind: EventKind, bytes_read: int = 0, bytes_packed: int = 0, tokens: int = 0) -> None:
        journal.append(
            journal_path,
            kind,
            file=file,
            job=this.id,
            lease_no=this.lease_no,
            bytes_read=bytes_read,
            bytes_packed=bytes_packed,
            tokens=tokens,
        )

    note(EventKind.STARTED)
    if fatal:
        note(EventKind.REFUSED)
        raise JobError.fatal("fatal by design: no retry could help, so it is a dead letter at once")
    if this.attempt <= failures:
        note(EventKind.FAILED)
        raise JobError.retryable(f"failed by design on attempt {this.attempt}, to succeed on a later one")
    source = Path(file).read_bytes()
    note(EventKind.PACKED, len(source), len(zlib.compress(source, level=9)), count_tokens(source))


def count_tokens(source: bytes) -> int:
    """Return how many tokens come before the end, or before the first error: the library holds broken files too."""
    count = 0
    try:
        for _ in tokenize.tokenize(io.BytesIO(source).readline):
            count += 1
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return count
    return count
