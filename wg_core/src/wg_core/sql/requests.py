"""Request numbers: a call that is sent twice is carried out once and answered twice (see `Backend.reserve`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from wg_core.errors import BackendRejectedError
from wg_core.sql.transaction import ConflictError, Transaction


@dataclass(frozen=True, slots=True)
class LastRequest:
    """The last request of one operation of a worker that was remembered, and its answer."""

    worker: str
    operation: str
    number: int | None
    """None: none was."""
    answer: bytes | None

    def repeated_answer(self, request_no: int) -> list[str] | None:
        """Return the remembered answer of a repeated request, None for a new one; refuse one that is over."""
        if self.number is None or request_no > self.number:
            return None
        if request_no < self.number:
            raise BackendRejectedError(f"request number {request_no} is over: the last one was {self.number}")
        return msgspec.json.decode(self.answer or b"[]", type=list[str])

    def remember(self, tx: Transaction, request_no: int, answer: Sequence[str]) -> None:
        """Keep a request and its answer in place of this one.

        Raises ConflictError when another transaction did so first: the same request, sent again while it was still
        on its way, whose answer the repeated transaction will find.
        """
        key = {"worker": self.worker, "operation": self.operation}
        encoded = msgspec.json.encode(answer)
        if self.number is None:
            written = tx.run(tx.statements.first_request, **key, request_no=request_no, answer=encoded)
        else:
            change = {"last_no": self.number, "new_no": request_no, "new_answer": encoded}
            written = tx.run(tx.statements.next_request, **key, **change)
        if not written:
            raise ConflictError(f"request {request_no} of worker {self.worker!r} was sent twice at once")
