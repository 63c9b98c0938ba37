"""Enqueue, reserve and report in one statement each, where nothing unusual is in the way.

A round trip and a commit are what these calls cost; their ordinary form in the toolkit takes four to seven round trips.
Each shortcut does exactly what that form does, or answers None after it changed nothing: then the caller goes the
ordinary way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from wg_core.job import ReservedJob, Timestamp
from wg_core.outcome import Ack, Applied
from wg_core.sql import CLAIMED, Queues, Statements
from wg_core.sql.claiming import reserved_job
from wg_core.sql.enqueueing import NewRow
from wg_postgres.connections import PostgresConnections
from wg_postgres.marks import FIRST, Marks, Place
from wg_postgres.statements import CLAIMED_SOME, NOTHING_READY, Texts

_HAPPENED, _SECONDS, _PLACE, _CLAIMED_AT = range(4)
"""The columns of `Texts.reserve`; from the last of these on they are `CLAIMED`."""
_RANK, _SEQ, _QUEUE = (_CLAIMED_AT + CLAIMED.index(name) for name in ("rank", "seq", "queue"))

_Row = tuple[Any, ...]


class Shortcuts:
    """The statements of `Texts` on the connections of one backend instance. Thread-safe."""

    def __init__(self, statements: Statements, texts: Texts, connections: PostgresConnections) -> None:
        self._statements = statements
        self._texts = texts
        self._connections = connections
        self._marks = Marks()

    def enqueue(self, table: Table, row: NewRow) -> bool:
        """Store a new job, under an id that no other call carries, and return whether its id was new to the store."""
        parameters = dict(zip(self._statements.new_columns(table), row, strict=True))
        return bool(self._connections.ask_alone(self._texts.enqueue_one[table.name], parameters))

    def reserve(
        self, queues: Queues, limit: int, worker: str, request_no: int, now: Timestamp
    ) -> list[ReservedJob] | None:
        """Claim jobs, from behind the marks if there are any; where nothing is found there, from the front."""
        wanted = {"limit": limit, "worker": worker, "request_no": request_no, "now": now}
        marks = self._marks.current()
        rows = self._claim(marks, queues, wanted)
        if marks and not rows:
            rows = self._claim({}, queues, wanted)
        return None if rows is None else [reserved_job(row[_CLAIMED_AT:]) for row in rows]

    def _claim(self, marks: Mapping[str, Place], queues: Queues, wanted: Mapping[str, Any]) -> list[_Row] | None:
        names = list(marks) if queues is None else list(dict.fromkeys(queues))
        places = [marks.get(name, FIRST) for name in names]
        begun = {"queues": names, "ranks": [rank for rank, _ in places], "seqs": [seq for _, seq in places]}
        rows = self._connections.ask_alone(self._texts.reserve[queues is not None], {**begun, **wanted})
        happened, seconds = rows[0][_HAPPENED], rows[0][_SECONDS]
        if happened != CLAIMED_SOME:
            self._marks.clear()
            return [] if happened == NOTHING_READY else None
        rows.sort(key=_order)
        if len(rows) < wanted["limit"]:
            self._marks.clear()
        else:
            self._marks.note(marks, [(row[_QUEUE], (row[_RANK], row[_SEQ])) for row in rows], seconds=seconds)
        return rows

    def report(self, worker: str, acks: Sequence[Ack], request_no: int) -> list[Applied] | None:
        """End jobs as done: different ones, all under one lease number."""
        ids = [ack.id for ack in acks]
        parameters = {"worker": worker, "ids": ids, "lease_no": acks[0].lease_no, "request_no": request_no}
        [(is_done, lost)] = self._connections.ask_alone(self._texts.finish, parameters)
        if not is_done:
            return None
        applied = [Applied.APPLIED] * len(ids)
        for place in lost:
            applied[place] = Applied.LOST
        return applied


def _order(row: _Row) -> tuple[int, int, int]:
    """Sort by the place of the queue, then as the jobs stood in it."""
    return row[_PLACE], row[_RANK], row[_SEQ]
