"""What all private servers share: a process with a port and a folder, its account, its end, and its program."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from wg_core.testing.servers._processes import (
    await_gone,
    children_of,
    dismiss,
    guard,
    send_signal,
    wait_until,
)
from wg_core.testing.servers._programs import ServerError, group_of, unprivileged_account

HOST = "127.0.0.1"
PORTS = range(12_000, 30_000)
"""Below the range from which outgoing connections take theirs, so that nobody takes the port of a killed server."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server needs to offer TLS, as PEM."""

    chain: str
    """Its certificate, and those between it and the authority."""
    key: str = field(repr=False)


class PrivateServer(ABC):
    """One server with a port and a folder that stay the same over kills and restarts.

    A context manager: entering starts the server, leaving ends it and removes its data.
    """

    product: ClassVar[str]
    accounts: ClassVar[Sequence[str]] = ()
    """Whom to run as when the tests run as root and the server refuses that: the first account that exists."""

    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, *, start_timeout_seconds: float = 60.0, stop_timeout_seconds: float = 60.0) -> None:
        self.account = unprivileged_account(self.accounts) if self.accounts and os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix=f"wg-{self.product}-"))
        if self.account:
            shutil.chown(self.folder, self.account, group_of(self.account))
        self.log_path = self.folder / "server.log"
        self._reservation = _reserve_port()
        self.port: int = self._reservation.getsockname()[1]
        if sys.platform != "linux":  # where no server could listen on a port that somebody else has
            self._reservation.close()
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
        command = self._command()
        with self.log_path.open("ab") as log:
            self._process = self._launch(command, log)
        self._guard = guard(self._process.pid)
        self._await_ready()

    def stop(self) -> None:
        """End the server in its own orderly way; SIGKILL when that takes too long. Idempotent."""
        self._end_by(self._stop_signal)

    def kill(self) -> None:
        """End the server at once (SIGKILL), all its processes, as a crash would. Its data stays. Idempotent."""
        if self._guard is not None:
            dismiss(self._guard)
            self._guard = None
        if self._process is not None:
            children = _freeze(self._process.pid) if self.running else []
            send_signal(children, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
            await_gone(children)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, nothing is answered. Returns when it stands still."""
        send_signal(_freeze(self._running().pid), signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        _thaw(self._running().pid)

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill the server and remove its folder. Idempotent."""
        self.kill()
        self._reservation.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command line; called at each start, so it may write the configuration first."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether this very process (not another one on its port) answers and has loaded its data; never raises."""

    def _launch(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._explaining(command[0]):
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then end the server themselves
                **self._as_account(),
            )

    def _run(self, *command: str | Path, text: str = "") -> None:
        """Run a program that prepares the data, as the server's account; ServerError with its output if it fails."""
        words = [str(word) for word in command]
        with self._explaining(words[0]):
            done = subprocess.run(
                words,
                cwd=self.folder,
                input=text.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                **self._as_account(),
            )
        if done.returncode:
            raise ServerError(f"{words[0]} failed:\n{done.stdout.decode(errors='replace')}")

    def _write(self, name: str, lines: Sequence[str]) -> Path:
        """Write a configuration file that only the server's account may read (it may hold a password)."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
        if self.account:
            shutil.chown(path, self.account)
        return path

    def _as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account, "group": group_of(self.account), "extra_groups": []}

    @contextlib.contextmanager
    def _explaining(self, program: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ServerError(
                f"{program} may not be run by {self.account or 'this user'}: "
                "install it in a folder that every account may enter, or do not run the tests as root"
            ) from error

    def _end_by(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or not self.running:
            return
        _thaw(process.pid)
        process.send_signal(number)  # and it may be gone in the next moment
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._stop_timeout_seconds)
        self.kill()

    def _await_ready(self) -> None:
        try:
            wait_until(lambda: not self.running or self._is_ready(), self._start_timeout_seconds)
        except TimeoutError:
            self.kill()
        if not self.running:
            self.kill()
            raise ServerError(f"{self.product} on port {self.port} did not start:\n{self._end_of_log()}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"the private {self.product} server is not running")
        return self._process

    def _end_of_log(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])


def _freeze(pid: int) -> list[int]:
    """Stop the first process of a server, so that it starts no others, and return those that it had started."""
    os.kill(pid, signal.SIGSTOP)
    if hasattr(os, "waitid"):  # not on every macOS; there the signal is merely on its way
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return children_of(pid)


def _thaw(pid: int) -> None:
    """Let the processes of a server go on."""
    send_signal([*children_of(pid), pid], signal.SIGCONT)


def _reserve_port() -> socket.socket:
    """Return a socket on a port that nobody has, random even where the tests have seeded their random numbers.

    On Linux a server may listen beside it, because both allow that, while others who look for a port in this way are
    kept off: before the server listens, and between a kill and a restart.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        reservation = socket.socket()
        try:
            reservation.bind((HOST, port))
        except OSError:
            reservation.close()
            continue
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reservation
    raise ServerError(f"no free port between {PORTS.start} and {PORTS.stop}")
