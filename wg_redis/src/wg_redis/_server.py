"""Calls to the server: scripts and reading commands, each answered or sorted into an error of wg."""

from __future__ import annotations

from typing import Any

from redis import exceptions as driver

from wg_core.errors import AmbiguousResultError, BackendUnavailableError
from wg_redis._errors import code_of, is_failover, sort_reply
from wg_redis._links import Links
from wg_redis._options import Options
from wg_redis._scripts import Script


class Server:
    """One server and one namespace. Thread-safe."""

    def __init__(self, options: Options, namespace: str) -> None:
        self._options = options
        self._links = Links(options)
        self.prefix = "{" + namespace + "}:"
        """What every key begins with: the braces keep all keys of a namespace on one node of a cluster."""

    def write(self, script: Script, *arguments: Any) -> Any:
        """Run a script that changes something; never sent twice. AmbiguousResultError when the answer was lost."""
        return self._checked(self._evaluate(script, arguments, self._ask))

    def read(self, script: Script, *arguments: Any) -> Any:
        """Run a script that changes nothing; sent once more when the connection broke."""
        return self._checked(self._evaluate(script, arguments, self._ask_twice))

    def command(self, *command: Any) -> Any:
        """Run a reading command; sent once more when the connection broke."""
        return self._checked(self._ask_twice(*command))

    def forget(self) -> None:
        """Drop what a parent process left, without I/O."""
        self._links.forget()

    def close(self) -> None:
        """Close the connections; later calls raise BackendUnavailableError."""
        self._links.close()

    def _evaluate(self, script: Script, arguments: tuple[Any, ...], ask: Any) -> Any:
        reply = ask("EVALSHA", script.sha, 1, self.prefix, *arguments)
        if isinstance(reply, Exception) and code_of(reply) == "NOSCRIPT":  # a new server, or SCRIPT FLUSH
            reply = ask("EVAL", script.source, 1, self.prefix, *arguments)
        return reply

    def _ask(self, *command: Any) -> Any:
        reply = self._ask_once(command)
        if isinstance(reply, Exception) and is_failover(reply):
            self._links.drop_idle()
            reply = self._ask_once(command)
        return reply

    def _ask_twice(self, *command: Any) -> Any:
        try:
            return self._ask(*command)
        except AmbiguousResultError as error:
            if isinstance(error.__cause__, driver.TimeoutError):
                raise BackendUnavailableError(str(error)) from error.__cause__
        try:
            return self._ask(*command)
        except AmbiguousResultError as error:
            raise BackendUnavailableError(str(error)) from error.__cause__

    def _ask_once(self, command: tuple[Any, ...]) -> Any:
        link = self._links.take()
        try:
            reply = link.ask(*command)
        except BaseException:  # also a timeout raised into this thread: an unread answer must not meet the next call
            self._links.discard(link)
            raise
        self._links.give(link)
        return reply

    def _checked(self, reply: Any) -> Any:
        if isinstance(reply, Exception):
            raise sort_reply(reply, self._options.address) from reply
        return reply
