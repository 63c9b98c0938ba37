"""Who keeps a worker's lease: the seam between the runtime of one worker process and its supervisor.

Embedded, `WorkerPool` beats from a thread of its own. Under `wg worker` the supervisor beats for its children,
so that a handler that holds the GIL cannot starve its own lease: the child shows its signs of life on a `Board`
in shared memory and hears the news through a pipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from wg_core.protocol import WorkerNews

REPLACE_ME = 75
"""Exit code of a worker process that wants to be replaced: a handler's thread does not move, or its lease was lost."""

OnNews: TypeAlias = Callable[[WorkerNews, frozenset[str]], None]
"""Called from any thread with the news of a beat and the paused queues; returns quickly, never raises."""


class Board(Protocol):
    """Where a worker process shows what it is doing; writes are lock-free and cost well under a microsecond.

    One slot per executor thread. Only the thread that owns a slot writes to it.
    """

    def tick(self) -> None:
        """Show that the process still schedules its own threads."""

    def started(self, slot: int, job_id: str, lease_no: int, deadline: float | None) -> None:
        """A handler is about to run in the slot; `deadline` is on the time.monotonic() clock, None = no timeout."""

    def ended(self, slot: int) -> None:
        """The handler of the slot is over, however it ended."""


class LeaseKeeper(Protocol):
    """Keeps the lease of one worker id alive from `start` to `stop`."""

    def start(self, on_news: OnNews) -> None:
        """Register the worker (first beat) and go on beating; blocks until registered or `stop` is called."""

    def stop(self) -> None:
        """Stop beating. The last step of a shutdown. Idempotent."""

    def replace_process(self, reason: str) -> bool:
        """Ask for this process to be replaced, because a handler's thread does not move.

        True: somebody will (the process should stop taking jobs, let the siblings finish, and exit);
        False: nobody can (embedded), the thread is given up as lost.
        """


class NoBoard:
    """The board of an embedded pool: nobody looks."""

    def tick(self) -> None:
        """Nobody looks."""

    def started(self, slot: int, job_id: str, lease_no: int, deadline: float | None) -> None:
        """Nobody looks."""

    def ended(self, slot: int) -> None:
        """Nobody looks."""
