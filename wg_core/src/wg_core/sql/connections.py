"""Where transactions get their connection from, and the pool options that all SQL stores share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from wg_core.errors import BackendUnavailableError
from wg_core.sql.options import Option, at_least, seconds
from wg_core.sql.querylog import QueryLog
from wg_core.sql.transaction import Cursor


class Connections(ABC):
    """The connections of one backend instance. Thread-safe. Opens nothing before it is asked to.

    Every driver error that passes through the context managers leaves them sorted by `Flavor.sort_error`.
    """

    query_log: QueryLog | None = None
    """Told of every statement; None: queries are not logged."""

    def watched(self, cursor: Any) -> Cursor:
        """Return the cursor as it is to be lent: itself, or one that tells the query log."""
        return cursor if self.query_log is None else self.query_log.watched(cursor)

    @abstractmethod
    def reading(self) -> AbstractContextManager[Cursor]:
        """Lend a cursor in a read transaction: all statements see one state of the store."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Cursor]:
        """Lend a cursor in a write transaction: committed at the end, rolled back when the block raises."""

    @abstractmethod
    def write_alone(self, text: str, arguments: Sequence[Any]) -> int:
        """Run one statement in a transaction of its own; return how many rows it changed."""

    @abstractmethod
    def looking(self) -> AbstractContextManager[Cursor | None]:
        """Lend a cursor for `migrate(dry_run=True)`: creates and changes nothing; None where there is no store yet."""

    def keep_time(self) -> None:  # noqa: B027 - optional: a clock that is this machine's needs no care
        """Read the store's clock if that is due, for a call that needs the time before it borrows a connection."""

    @abstractmethod
    def close(self) -> None:
        """Close everything; later calls raise BackendUnavailableError. Idempotent."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what was inherited by a fork without closing it, and start afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How many connections are kept, and for how long. Durations are seconds."""

    pool_size: int = 5
    """Connections kept open; 0: no limit."""
    max_overflow: int = 10
    """More connections for a moment of need; -1: no limit."""
    pool_timeout: float = 30.0
    """How long a caller waits for a free connection."""
    pool_recycle: float = -1.0
    """Connections older than this are replaced before use; -1: never."""


POOL_OPTIONS = {
    "pool_size": Option(at_least(0)),
    "max_overflow": Option(at_least(-1)),
    "pool_timeout": Option(seconds()),
    "pool_recycle": Option(seconds(least=-1.0)),
}


def make_pool(connect: Callable[[], Any], options: PoolOptions) -> QueuePool:
    """Return a SQLAlchemy pool of DBAPI connections. Nothing is reset on return: our transactions end themselves."""
    return QueuePool(
        connect,
        pool_size=options.pool_size,
        max_overflow=options.max_overflow,
        timeout=options.pool_timeout,
        recycle=-1 if options.pool_recycle < 0 else math.ceil(options.pool_recycle),
        reset_on_return=None,
    )


def no_free_connection(place: str, error: PoolTimeoutError) -> BackendUnavailableError:
    """Return what a caller hears whose wait for a connection of the pool was in vain."""
    return BackendUnavailableError(
        f"no free connection to {place}: every one of the pool is in use ({error.args[0]}); raise pool_size, "
        f"max_overflow or pool_timeout, or use fewer threads"
    )
