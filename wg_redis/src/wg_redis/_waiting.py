"""Waiting: a waiter announces itself in the store, blocks on its own connection, and can be interrupted."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import uuid
from collections.abc import Callable, Sequence

from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_redis._errors import SchemaMissingError, code_of, sort_reply
from wg_redis._links import Link
from wg_redis._options import Options
from wg_redis._scripts import load

RETRY_SECONDS = 0.5
"""How long a wait pauses when the server cannot be reached."""

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Waiter:
    """What one waiting thread needs: a connection of its own, and a bell that any thread can ring."""

    def __init__(self, options: Options, prefix: str, set_up: Callable[[], object]) -> None:
        self._options = options
        self._prefix = prefix
        self._set_up = set_up
        self._name = uuid.uuid4().hex
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._link: Link | None = None

    def ring(self) -> None:
        """Make the wait that is going on end. From any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it has rung often enough
            self._bell.send(b"\0")

    def unring(self) -> None:
        """Forget what rang before."""
        with contextlib.suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass

    def close(self) -> None:
        """Close the connection and the bell."""
        self._drop_link()
        self.forget()

    def forget(self) -> None:
        """Close the bell only: after a fork the connection is the parent's."""
        self._bell.close()
        self._ear.close()

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """Block until a token comes, the bell rings or the time is over; returns early when the server is away."""
        try:
            if not self._is_ready(queues, timeout_seconds):
                self._await_token(queues, timeout_seconds)
        except (BackendUnavailableError, AmbiguousResultError):
            self._drop_link()
            _readable(self._ear, timeout_seconds=min(timeout_seconds, RETRY_SECONDS))
        except BaseException:
            self._drop_link()  # whatever was raised into this thread: an unread answer must not meet the next call
            raise

    def _is_ready(self, queues: Sequence[str] | None, timeout_seconds: float) -> bool:
        try:
            return self._announce(queues, timeout_seconds)
        except SchemaMissingError:
            self._set_up()
            return self._announce(queues, timeout_seconds)

    def _announce(self, queues: Sequence[str] | None, timeout_seconds: float) -> bool:
        """Tell the store who waits; return whether there is no need to: something is ready, or the bell rang."""
        script, patience = load("listen"), max(1, round(timeout_seconds * 1000))
        arguments = (1, self._prefix, self._name, patience, *(queues or ()))
        reply = self._ask(self._options.socket_timeout, "EVALSHA", script.sha, *arguments)
        if isinstance(reply, Exception) and code_of(reply) == "NOSCRIPT":
            reply = self._ask(self._options.socket_timeout, "EVAL", script.source, *arguments)
        if isinstance(reply, Exception):
            raise sort_reply(reply, self._options.address) from reply
        return reply != 0

    def _await_token(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        lists = [f"{self._prefix}wake:{queue}" for queue in queues or ()] or [f"{self._prefix}wake"]
        block = max(timeout_seconds, 0.001)  # 0 would mean for ever
        reply = self._ask(block + self._options.socket_timeout, "BLPOP", *lists, f"{block:.3f}")
        if isinstance(reply, Exception):
            raise sort_reply(reply, self._options.address) from reply

    def _ask(self, timeout_seconds: float, *command: object) -> object:
        """Return the answer; None when the bell rang or nothing came in time, and the connection is given up then."""
        if self._link is None or not self._link.is_usable:
            self._drop_link()
            self._link = Link(self._options)
            self._link.open()
        self._link.send(*command)
        if self._link.socket in _readable(self._link.socket, self._ear, timeout_seconds=timeout_seconds):
            return self._link.read()
        self._drop_link()
        return None

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class Waiters:
    """The waiters of one backend: those that wait now, and those that rest until the next `wait`."""

    def __init__(self, options: Options, prefix: str, set_up: Callable[[], object]) -> None:
        """`set_up` creates the schema, for a wait that comes before anything else."""
        self._options = options
        self._prefix = prefix
        self._set_up = set_up
        self._closed = False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._interrupted = False  # under _lock, as are the two below
        self._waiting: set[Waiter] = set()
        self._resting: list[Waiter] = []

    def forget(self) -> None:
        """Drop every waiter and the lock without I/O with the store: for the child of a fork."""
        for waiter in (*self._waiting, *self._resting):
            waiter.forget()
        self._start_afresh()

    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """See `Backend.wait`. BackendUnavailableError after `close`."""
        waiter = self._begin()
        if waiter is None:
            return
        try:
            if timeout_seconds > 0:
                waiter.wait(queues, timeout_seconds)
        finally:
            self._end(waiter)

    def interrupt(self) -> None:
        """End the waits that are going on, or else the next one."""
        with self._lock:
            self._interrupted = not self._waiting
            for waiter in self._waiting:
                waiter.ring()

    def close(self) -> None:
        """End the waits that are going on and refuse others."""
        with self._lock:
            self._closed = True
            resting, self._resting = self._resting, []
            for waiter in self._waiting:
                waiter.ring()
        for waiter in resting:
            waiter.close()

    def _begin(self) -> Waiter | None:
        """Return a waiter that interrupts reach from now on; None when one came before."""
        with self._lock:
            if self._closed:
                raise BackendUnavailableError("this backend was closed; open another one")
            if self._interrupted:
                self._interrupted = False
                return None
            waiter = self._resting.pop() if self._resting else self._new_waiter()
            waiter.unring()
            self._waiting.add(waiter)
            return waiter

    def _new_waiter(self) -> Waiter:
        return Waiter(self._options, self._prefix, self._set_up)

    def _end(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiting.remove(waiter)
            if not self._closed:
                self._resting.append(waiter)
                return
        waiter.close()


def _readable(*sockets: socket.socket, timeout_seconds: float) -> list[object]:
    """Return those of the sockets that have something to read, once one has or the time is over."""
    with _Selector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(timeout_seconds)]
