"""Who wakes whom: NOTIFY when jobs become ready, but only while somebody waits for them.

A NOTIFY in a transaction makes its commit take a lock of the whole database, so sending one with every job halves what
a server can take in. Therefore a waiter holds *shared* advisory locks while it waits, one for each queue that it waits
for (or the one for every queue), and a statement that makes jobs ready tries the exclusive lock for a moment: only when
it cannot have it, it notifies. That costs neither a table nor a round trip.

A waiter that begins between this look and the commit hears nothing: that is why waiters look again soon after they
began. Two producers may meet at the lock and take each other for a waiter: that costs one NOTIFY too many.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass

from psycopg.pq import Escaping
from psycopg.pq.abc import PGconn

EVERY_QUEUE = ""
"""Stands for every queue where queues are named; a queue has at least one character."""

_SIGN = 2**31


@dataclass(frozen=True, slots=True)
class Signal:
    """The channel and the locks of one namespace."""

    namespace: str
    schema: str | None = None

    @property
    def channel(self) -> str:
        """The name to LISTEN to; the payload of a notification is the name of a queue."""
        suffix = "" if self.schema is None else f"_{zlib.crc32(self.schema.encode()):08x}"
        return f"{self.namespace}_ready{suffix}"

    @property
    def space(self) -> int:
        """The first key of our advisory locks; the second is the hash of a queue's name, or 0 for every queue."""
        return zlib.crc32(f"wg {self.schema or ''}.{self.namespace}".encode()) - _SIGN

    def notify(self, queue: str) -> str:
        """Return the expression that notifies of a queue, given as an expression."""
        return f"pg_notify('{self.channel}', {queue})"

    def notify_waiters(self, queue: str) -> str:
        """Return the expression that notifies of a queue if somebody waits for it."""
        every, this = f"{self.space}, 0", f"{self.space}, hashtext({queue})"
        return f"""CASE WHEN
            CASE WHEN pg_try_advisory_lock({every})
                THEN CASE WHEN pg_advisory_unlock({every}) AND pg_try_advisory_lock({this})
                    THEN NOT pg_advisory_unlock({this}) ELSE true END
                ELSE true END
            THEN {self.notify(queue)} END"""

    def exchange_locks(self, link: PGconn, taken: Collection[str], left: Collection[str]) -> str:
        """Return the statement with which a waiter takes the locks of some queues and leaves those of others."""
        calls = [f"pg_advisory_lock_shared({self.space}, {_key(link, queue)})" for queue in sorted(taken)]
        calls += [f"pg_advisory_unlock_shared({self.space}, {_key(link, queue)})" for queue in sorted(left)]
        return f"SELECT {', '.join(calls) or '1'}"


def _key(link: PGconn, queue: str) -> str:
    if queue == EVERY_QUEUE:
        return "0"
    return f"hashtext({Escaping(link).escape_literal(queue.encode()).decode()})"
