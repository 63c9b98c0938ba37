"""Connections to one server: each knows whether a command left it, and none is used in another process."""

from __future__ import annotations

import socket
import threading
import weakref
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError
from wg_redis._errors import is_reply, sort_connect
from wg_redis._options import Options


class Link:
    """One connection, used by one thread at a time. Connects once; never reconnects."""

    def __init__(self, options: Options) -> None:
        self._address = options.address
        self._connection = _connection(options)
        self._is_new = True
        self._is_broken = False

    def open(self) -> bool:
        """Connect and log in at the first call; later ones tell whether it is still usable.

        Raises BackendUnavailableError or BackendRejectedError.
        """
        if not self._is_new:
            return self.is_usable
        self._is_new = False
        try:
            self._connection.connect()
        except (RedisError, OSError) as error:
            raise sort_connect(error, self._address) from error
        return True

    @property
    def is_usable(self) -> bool:
        """Whether it is open with nothing left to read: an idle connection that has news was closed by the server."""
        if self._is_broken:
            return False
        try:
            return not self._connection.can_read()
        except (RedisError, OSError):
            return False

    @property
    def socket(self) -> socket.socket:
        """The socket, to wait for an answer and for something else at the same time."""
        sock: socket.socket = self._connection._sock  # noqa: SLF001 - the driver cannot wait for two things
        return sock

    def ask(self, *command: Any) -> Any:
        """Send a command and return the answer, error replies too (as values)."""
        self.send(*command)
        return self.read()

    def send(self, *command: Any) -> None:
        """Send a command. BackendUnavailableError: it did not leave as a whole, and Redis runs no parts."""
        try:
            packed = self._connection.pack_command(*command)
        except UnicodeEncodeError as error:
            raise BackendRejectedError(f"this cannot be stored: {error}") from error
        try:
            self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:
            self._is_broken = True
            raise BackendUnavailableError(f"redis at {self._address} was lost: {error}") from error

    def read(self) -> Any:
        """Return the answer, error replies too (as values). AmbiguousResultError: none came."""
        try:
            return self._connection.read_response()
        except (RedisError, OSError) as error:
            self._is_broken = not isinstance(error, ResponseError)  # else the driver has closed the connection
            if is_reply(error):
                return error.with_traceback(None)  # which refers to this link and to whoever holds the answer
            raise AmbiguousResultError(f"redis at {self._address} did not answer: {error}") from error

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._connection.disconnect()


def _connection(options: Options) -> Any:
    kind, location = _transport(options)
    return kind(
        **location,
        db=options.db,
        username=options.username,
        password=options.password,
        socket_timeout=options.socket_timeout,
        socket_connect_timeout=options.connect_timeout,
        protocol=options.protocol,
        client_name=options.client_name,
        retry=Retry(NoBackoff(), 0),  # the driver's own would send a write again whose answer was lost
        retry_on_error=[],
    )


def _transport(options: Options) -> tuple[Any, dict[str, Any]]:
    """Return the driver's class and what it must know besides; Any because its annotations stop half-way."""
    if options.unix_socket:
        return UnixDomainSocketConnection, {"path": options.unix_socket}
    location = {"host": options.host, "port": options.port, "socket_keepalive": True}
    if not options.tls:
        return Connection, location
    return SSLConnection, location | {
        "ssl_cert_reqs": options.ssl_verify,
        "ssl_check_hostname": options.ssl_verify == "required",
        "ssl_ca_certs": options.ssl_ca,
        "ssl_certfile": options.ssl_cert,
        "ssl_keyfile": options.ssl_key,
    }


class Links:
    """At most `max_connections` links, handed out last in, first out, so that those not needed stay idle.

    The time limit of a handler raises an exception in its thread at any step of a call. So links are counted by being
    there: one that its thread had to drop counts no more. And the plain lock is taken, never the condition, which takes
    it in Python code, where an exception could leave it locked for ever.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._closed = False
        self.forget()

    def forget(self) -> None:
        """Drop every link and the lock without touching a socket: for the child of a fork."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle: list[Link] = []  # under _lock, as is _all
        self._all: weakref.WeakSet[Link] = weakref.WeakSet()

    def take(self) -> Link:
        """Return a usable link, connecting when none is idle; blocks while all are in use.

        Raises BackendUnavailableError (also after `close`) or BackendRejectedError.
        """
        while True:
            link = self._idle_or_new()
            try:
                if link.open():
                    return link
            except BaseException:
                self.discard(link)
                raise
            self.discard(link)

    def give(self, link: Link) -> None:
        """Take a link back that has nothing left to read."""
        with self._lock:
            if not self._closed:
                self._idle.append(link)
                self._changed.notify()
                return
        self.discard(link)

    def discard(self, link: Link) -> None:
        """Close a link that is out of step, instead of giving it back."""
        link.close()
        with self._lock:
            self._all.discard(link)
            self._changed.notify()

    def drop_idle(self) -> None:
        """Close the links that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            self.discard(link)

    def close(self) -> None:
        """Close the idle links now and the others as they come back. Idempotent."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        self.drop_idle()

    def _idle_or_new(self) -> Link:
        """Return an idle link, or one that is still to be opened."""
        with self._lock:
            free = self._changed.wait_for(
                lambda: self._closed or self._idle or len(self._all) < self._options.max_connections,
                timeout=self._options.socket_timeout,
            )
            if self._closed:
                raise BackendUnavailableError("this backend was closed; open another one")
            if not free:
                raise BackendUnavailableError(
                    f"all {self._options.max_connections} connections are in use; raise max_connections"
                )
            if self._idle:
                return self._idle.pop()
            link = Link(self._options)
            self._all.add(link)
            return link
