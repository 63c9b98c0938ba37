"""What a supervisor and a worker process say to each other: one JSON message a line, over a pair of sockets.

Each end learns of the other's death as the end of the stream. Nothing here travels on a command line or through
the environment, where other users of the machine could read the store's password.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, TypeAlias

import msgspec

from wg_core.settings import WorkerSettings

MOST_UNSENT_BYTES = 1_048_576
"""Beyond this much unread news a peer that does not read gets no more of it: the next beat repeats what matters."""


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """First message to a worker process: everything it must know."""

    url: str
    namespace: str
    options: dict[str, Any]
    settings: WorkerSettings
    modules: tuple[str, ...]
    worker: str
    log_level: int


class News(msgspec.Struct, frozen=True, kw_only=True, tag="news"):
    """To a worker process after every beat; the first one says that it is registered."""

    lease_lost: bool = False
    cancels: tuple[tuple[str, int], ...] = ()
    paused: frozenset[str] = frozenset()


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """To a worker process: drain and exit; with `now`, give back at once."""

    now: bool = False


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """From a worker process: the handlers are imported, register me."""


class ImportFailed(msgspec.Struct, frozen=True, kw_only=True, tag="import_failed"):
    """From a worker process: a handler module cannot be imported; `line` says which and why."""

    line: str


class ReplaceMe(msgspec.Struct, frozen=True, kw_only=True, tag="replace_me"):
    """From a worker process: start another, I only wait for the other handlers to finish."""

    reason: str


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag="bye"):
    """From a worker process: the pool has ended, the process will exit. `idle`: there was nothing left to do."""

    idle: bool
    exit_code: int


ToWorker: TypeAlias = Setup | News | Stop
FromWorker: TypeAlias = Ready | ImportFailed | ReplaceMe | Bye

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ToWorker | FromWorker)


class Channel:
    """One end. Never blocks: what the peer has not room for is kept and sent by a later `send` or `flush`.

    `send` and `flush` from any thread; `receive` and `close` from one.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._received = b""
        self.is_closed = False
        """The other end is gone: nothing will come any more."""
        # Shared, under _lock.
        self._lock = threading.Lock()
        self._unsent = b""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: ToWorker | FromWorker) -> None:
        """Send a message; a peer that is gone is no error. News to one that does not read are dropped."""
        with self._lock:
            if isinstance(message, News) and len(self._unsent) > MOST_UNSENT_BYTES:
                return
            self._unsent += _encoder.encode(message) + b"\n"
            self._send_unsent()

    def flush(self) -> None:
        """Try again to send what the peer had no room for."""
        with self._lock:
            self._send_unsent()

    def receive(self) -> list[ToWorker | FromWorker]:
        """Return the whole messages that have come; sets `is_closed` at the end of the stream, or at nonsense."""
        while not self.is_closed:
            try:
                chunk = self._socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            self.is_closed = not chunk
            self._received += chunk
        *lines, self._received = self._received.split(b"\n")
        messages = []
        for line in lines:
            try:
                messages.append(_decoder.decode(line))
            except msgspec.DecodeError:
                self.is_closed = True  # whoever writes here is not our peer any more
        return messages

    def close(self) -> None:
        """Close this end. Idempotent."""
        with self._lock:
            self._socket.close()
            self._unsent = b""

    def _send_unsent(self) -> None:
        with contextlib.suppress(OSError):  # full: later; closed or gone: `receive` tells
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
