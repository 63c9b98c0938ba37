"""Forks: nothing may be open when one happens.

Locks on a file do not pass to the child of a fork, but SQLite's memory of them does: a connection opened in the child
joins the inherited one and believes that it holds locks which it does not, so that another process may delete the
write-ahead log under it. Closing an inherited connection in the child is no way out either (it would undo what the
parent has in hand). So the parent closes its connections before it forks, as SQLite's manual asks for, and both
sides open new ones when they need them. Other threads wait for the fork, the fork waits for what they have begun.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from wg_core.sql import Bell

PATIENCE_SECONDS = 10.0
"""How long a fork waits for calls that are going on. The child of one that did not wait longer refuses the file."""

_inherited: list[object] = []
# Not even the end of the interpreter may free (and so close) what is in it.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))


def keep_inherited(*things: object) -> None:
    """Keep what a fork brought along from ever being freed."""
    _inherited.append(things)


class _Ticket:
    """One thread that is inside."""


class Gate:
    """Knows how many threads are inside, and can be closed to wait until nobody is.

    The time limit of a handler raises an exception in its thread at any step. So threads are counted by tickets, which
    vanish with their calls, and the plain lock is taken, never the condition, which takes it in Python code, where an
    exception could leave it locked for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside: weakref.WeakSet[_Ticket] = weakref.WeakSet()  # under the lock
        self._is_open = True

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter, waiting while the gate is closed."""
        ticket = _Ticket()
        with self._lock:
            self._changed.wait_for(lambda: self._is_open)
            self._inside.add(ticket)
        try:
            yield
        finally:
            with self._lock:
                self._inside.discard(ticket)
                self._changed.notify_all()

    def close(self, timeout_seconds: float) -> bool:
        """Let nobody in any more; tell whether everybody left in time."""
        with self._lock:
            self._is_open = False
            return self._changed.wait_for(lambda: not self._inside, timeout=timeout_seconds)

    def open(self) -> None:
        """Let everybody in again."""
        with self._lock:
            self._is_open = True
            self._changed.notify_all()


class User(Protocol):
    """Who has connections to a file open."""

    def close_for_fork(self, *, with_writer: bool) -> bool:
        """Close them, and open none until `resume`; tell whether all are closed. The writer only when it is idle."""

    def resume(self) -> None:
        """The fork is over, in the parent."""


class Share:
    """What the backends of one process on one store have in common."""

    def __init__(self) -> None:
        self.write_lock = threading.Lock()
        self.bells: dict[str, Bell] = {}
        self.users: weakref.WeakSet[User] = weakref.WeakSet()
        self.is_unusable = False
        """A connection to the file was inherited, so that none can be opened safely in this process."""
        self._has_lock = False
        self._left_open = False

    def bell(self, namespace: str) -> Bell:
        """Return the bell of a namespace."""
        return self.bells.setdefault(namespace, Bell())

    def before_fork(self) -> None:
        """Stop writing and close every connection."""
        self._has_lock = self.write_lock.acquire(timeout=PATIENCE_SECONDS)
        closed = [user.close_for_fork(with_writer=self._has_lock) for user in list(self.users)]
        self._left_open = not (self._has_lock and all(closed))

    def inherit(self, parent: Share) -> None:
        """Take over, in the child, what matters of the parent's share."""
        self.is_unusable = parent.is_unusable or parent._left_open

    def after_fork(self) -> None:
        """Go on, in the parent."""
        for user in list(self.users):
            user.resume()
        if self._has_lock:
            self.write_lock.release()


_shares: dict[tuple[int, str], Share] = {}


def share_of(path: str) -> Share:
    """Return the share of a file, a new one in the child of a fork."""
    return _shares.setdefault((os.getpid(), path), Share())  # one step, so it needs no lock that a fork could inherit


def _own_shares() -> list[Share]:
    return [share for (pid, _), share in list(_shares.items()) if pid == os.getpid()]


def _before_fork() -> None:
    for share in _own_shares():
        share.before_fork()


def _after_fork() -> None:
    for share in _own_shares():
        share.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
