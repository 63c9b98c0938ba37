"""Waiting for work: a thread LISTENs on a connection of its own and wakes the threads that wait.

A notification is a hint. Whoever waits also looks for itself: at once, when the thread holds the locks that make
producers notify (see `wg_postgres.waking`), soon after that, because a commit may have been under way, and then every
`poll_interval`. So nothing depends on the listening connection; while it is away, waiting is polling.
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from wg_core.errors import BackendError, BackendUnavailableError
from wg_core.sql import Queues, Waiter
from wg_postgres.waking import EVERY_QUEUE, Signal

logger = logging.getLogger("wg.postgres")

_FIRST_PAUSE = 0.02
_GROWTH = 4.0
"""The first pause between two looks, in seconds, and how they grow: commits under way take milliseconds."""
_LINGER_SECONDS = 0.02
"""How long locks are kept when nobody waits any more: a busy worker waits for a moment now and then."""
_PROBE_SECONDS = 5.0
"""How often a silent connection is asked whether it still lives."""
_ANSWER_SECONDS = 5.0
"""How long it may take to answer: a socket whose other end vanished gives no error, only silence."""
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 5.0
_ERROR_PAUSE = 1.0

Link = PGconn
"""A connection of libpq, driven by hand: only so can an answer have a time limit."""
Connect = Callable[[], "psycopg.Connection[Any]"]


class _Wait:
    """One thread that waits."""

    def __init__(self, queues: Queues) -> None:
        self.queues = frozenset({EVERY_QUEUE} if queues is None else queues)
        self.should_look = False
        """Something happened; under the condition of the waiter."""

    def hears(self, queues: Collection[str]) -> bool:
        """Whether jobs in one of these queues are what it waits for."""
        return EVERY_QUEUE in self.queues or not self.queues.isdisjoint(queues)


class ListeningWaiter(Waiter):
    """Waits by LISTEN, with a look every `poll_interval` seconds at the latest."""

    def __init__(
        self, signal: Signal, connect: Connect, has_ready: Callable[[Queues], bool], poll_interval: float
    ) -> None:
        self._signal = signal
        self._connect = connect
        self._has_ready = has_ready
        self._poll_interval = poll_interval
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._changed = threading.Condition()
        self._waits: set[_Wait] = set()  # under the condition, as are the two below
        self._interrupted = False
        self._listener: _Listener | None = None

    # ------------------------------------------------------------------ for threads that wait

    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """Return when a job may be ready, at the timeout, or when interrupted."""
        deadline = time.monotonic() + timeout_seconds
        with self._waiting(_Wait(queues)) as wait:
            pause = _FIRST_PAUSE
            while not self._is_over(deadline):
                try:
                    if self._has_ready(queues):
                        return
                except BackendError:  # the next call of the worker will say what is wrong
                    self._rest(wait, deadline, _ERROR_PAUSE)
                    return
                self._rest(wait, deadline, pause)
                pause = min(pause * _GROWTH, self._poll_interval)

    @contextmanager
    def _waiting(self, wait: _Wait) -> Iterator[_Wait]:
        with self._changed:
            if self._closed:
                raise BackendUnavailableError("this backend was closed; open another one")
            self._waits.add(wait)
            if self._listener is None:
                self._listener = _Listener(self._signal, self._connect, self._wanted, self._wake)
                self._listener.start()
            self._listener.ring()
        try:
            yield wait
        finally:
            with self._changed:
                self._waits.discard(wait)
                self._interrupted = False
                if self._listener is not None:
                    self._listener.ring()

    def _is_over(self, deadline: float) -> bool:
        return self._interrupted or self._closed or time.monotonic() >= deadline

    def _rest(self, wait: _Wait, deadline: float, seconds: float) -> None:
        """Rest until there is a reason to look, or the time is over."""
        with self._changed:
            timeout = max(0.0, min(seconds, deadline - time.monotonic()))
            self._changed.wait_for(lambda: wait.should_look or self._interrupted or self._closed, timeout)
            wait.should_look = False

    # ------------------------------------------------------------------ from any thread

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def notify(self, queues: Collection[str]) -> None:
        """Wake the waiters of this instance without the detour through the server."""
        if self._waits:
            self._wake(queues)

    def close(self) -> None:
        """End every wait, also later ones, and the thread."""
        with self._changed:
            self._closed = True
            listener, self._listener = self._listener, None
            self._changed.notify_all()
        if listener is not None:
            listener.stop()

    def forget(self) -> None:
        """Begin anew in the child of a fork: the thread has stayed with the parent, and so does its connection."""
        _inherited.append(self._listener)
        self._start()

    # ------------------------------------------------------------------ for the thread that listens

    def _wanted(self) -> frozenset[str]:
        """Return the queues that somebody waits for."""
        with self._changed:
            return frozenset().union(*(wait.queues for wait in self._waits))

    def _wake(self, queues: Collection[str] | None) -> None:
        """Let those look who wait for one of the queues; None: all."""
        with self._changed:
            for wait in self._waits:
                wait.should_look = wait.should_look or queues is None or wait.hears(queues)
            self._changed.notify_all()


class _LinkError(Exception):
    """The listening connection is of no use any more."""


class _Listener:
    """The thread, its connection, and a bell that makes it look at what is wanted."""

    def __init__(
        self,
        signal: Signal,
        connect: Connect,
        wanted: Callable[[], frozenset[str]],
        wake: Callable[[Collection[str] | None], None],
    ) -> None:
        self._signal = signal
        self._connect = connect
        self._wanted = wanted
        self._wake = wake
        self._stopped = False
        self._has_ended = False
        self._lock = threading.Lock()
        self._bell, self._ear = socket.socketpair()  # closed under the lock
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="wg-listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ring(self) -> None:
        """Make the thread look at what is wanted now."""
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it has rung often enough
            if not self._has_ended:
                self._bell.send(b"\0")

    def stop(self) -> None:
        """Let the thread end soon; it may be just connecting, so nobody waits for it."""
        self._stopped = True
        self.ring()

    def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        while not self._stopped:
            try:
                with contextlib.closing(self._connect()) as connection:
                    backoff = _FIRST_BACKOFF
                    self._listen(connection.pgconn)
            except (_LinkError, psycopg.Error) as error:
                logger.debug("the listening connection is away, waiting goes on by polling: %s", error)
                self._pause(random.uniform(backoff / 2, backoff))  # noqa: S311 - spreads, keeps no secret
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
            except Exception:
                logger.exception("the listening thread failed, waiting goes on by polling")
                self._pause(_LONGEST_BACKOFF)
        with self._lock:
            self._has_ended = True
            self._bell.close()
            self._ear.close()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped and (left := until - time.monotonic()) > 0:
            _readable(left, self._ear.fileno())
            self._drain_ear()

    def _drain_ear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass

    # ------------------------------------------------------------------ on a connection

    def _listen(self, link: Link) -> None:
        """Hold the locks of the queues that somebody waits for, and pass on what is notified, until stopped."""
        link.nonblocking = 1
        _ask(link, f"LISTEN {self._signal.channel}")
        self._wake(None)  # what was notified before is lost
        held: frozenset[str] = frozenset()
        heard_at = time.monotonic()
        while not self._stopped:
            wanted = self._wanted()
            if wanted - held:
                _ask(link, self._signal.exchange_locks(link, wanted - held, held - wanted))
                held = wanted
                heard_at = time.monotonic()
                self._wake(None)  # from now on producers notify; what they stored before is to be looked for
            is_lingering = bool(held - wanted)
            readable = _readable(_LINGER_SECONDS if is_lingering else _PROBE_SECONDS, link.socket, self._ear.fileno())
            self._drain_ear()
            if link.socket in readable:
                link.consume_input()
                heard_at = time.monotonic()
            elif not readable and is_lingering:
                wanted = self._wanted()
                _ask(link, self._signal.exchange_locks(link, wanted - held, held - wanted))
                held, heard_at = wanted, time.monotonic()
            elif time.monotonic() - heard_at >= _PROBE_SECONDS:  # also while waits that come and go keep ringing
                _ask(link, "SELECT 1")
                heard_at = time.monotonic()
            self._pass_on(link)

    def _pass_on(self, link: Link) -> None:
        queues = set()
        while (notification := link.notifies()) is not None:
            queues.add(notification.extra.decode())
        if queues:
            self._wake(queues)


def _ask(link: Link, statement: str) -> None:
    """Run a statement, within a time limit."""
    link.send_query(statement.encode())
    until = time.monotonic() + _ANSWER_SECONDS
    while link.flush():
        _await(link, until, select.POLLIN | select.POLLOUT)
    while True:
        while link.is_busy():
            _await(link, until, select.POLLIN)
        result = link.get_result()
        if result is None:
            return
        if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
            raise _LinkError(result.get_error_message())


def _await(link: Link, until: float, events: int) -> None:
    poll = select.poll()
    poll.register(link.socket, events)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise _LinkError(f"no answer within {_ANSWER_SECONDS:g} s")
    link.consume_input()


def _readable(timeout_seconds: float, *sockets: int) -> set[int]:
    """Return which sockets have something to read, once one has or the time is over."""
    poll = select.poll()
    for number in sockets:
        poll.register(number, select.POLLIN)
    return {number for number, _ in poll.poll(max(0.0, timeout_seconds) * 1000)}


_inherited: list[object] = []
"""Connections of a parent process: kept, because the garbage collector would close them."""
