"""Whole `wg worker` trees as real processes, to be killed; and the log that their handlers write."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

HERE = Path(__file__).parent
NAMESPACE = "faults"


def sized(quick: int, *, full: int) -> int:
    """Return how much to do: WG_FAULTS=full is for `nox -s faults`, which takes its time."""
    return full if os.environ.get("WG_FAULTS") == "full" else quick


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Return the first true answer of `condition`; fail with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        threading.Event().wait(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


@dataclass
class Log:
    """What handlers and producers wrote, in the order of writing."""

    path: Path

    def entries(self) -> list[dict[str, Any]]:
        """Return all whole lines so far."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the entries of one kind."""
        return [entry for entry in self.entries() if entry["event"] == event]

    def enqueued(self) -> set[str]:
        """Return every id whose enqueue returned."""
        return {job_id for entry in self.of("enqueued") for job_id in entry["ids"]}

    def uncertain(self) -> set[str]:
        """Return every id that may have been stored, and was not sent again."""
        return {job_id for entry in self.of("uncertain") for job_id in entry["ids"]}


@dataclass
class Tree:
    """One supervisor with its worker processes."""

    url: str
    namespace: str
    folder: Path
    log: Log
    options: tuple[str, ...] = ()
    processes: int = 2
    threads: int = 4
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    seen: set[int] = field(default_factory=set, init=False)
    """Every child pid that was ever looked at."""

    def start(self) -> Tree:
        """Start it; returns before it is ready."""
        command = [sys.executable, "-m", "wg_core.cli", "worker", "fault_jobs"]
        command += ["--url", self.url, "--namespace", self.namespace]
        command += ["--processes", str(self.processes), "--threads", str(self.threads), *self.options]
        with (self.folder / "worker.log").open("ab") as output:
            self.process = subprocess.Popen(
                command, env=self._environment(), stdout=output, stderr=output, cwd=HERE, start_new_session=True
            )
        return self

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "WG_FAULT_LOG": str(self.log.path)}

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def children(self) -> list[int]:
        """Return the pids of the living worker processes."""
        pids: set[int] = set()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in list(Path(f"/proc/{self.pid}/task").iterdir()):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                    pids.update(int(pid) for pid in (task / "children").read_text().split())
        self.seen |= pids
        return sorted(pids)

    def busy_children(self) -> list[int]:
        """Return the children that have started a job (by the log)."""
        started = {entry["pid"] for entry in self.log.of("started")}
        return [pid for pid in self.children() if pid in started]

    def signal_all(self, number: signal.Signals) -> list[int]:
        """Send a signal to the supervisor first, then to every child; return the children."""
        children = self.children()
        for pid in (self.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return children

    def suspend(self) -> None:
        """Send SIGSTOP to all, at a moment when none of them keeps others from the store by a lock of its own."""
        while True:
            for pid in (self.pid, *self.children()):
                os.kill(pid, signal.SIGSTOP)
                wait_for(lambda pid=pid: state_of(pid) == "T", "all stopped, the supervisor first")
            if not is_kept_locked(self.url):
                return
            self.resume()

    def resume(self) -> None:
        """Send SIGCONT to all, the supervisor last: it has little patience with children that stand still."""
        for pid in (*self.children(), self.pid):
            os.kill(pid, signal.SIGCONT)

    def wait(self, seconds: float = 60.0) -> int:
        """Return the supervisor's exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def end(self) -> None:
        """Whatever happened: leave no process behind."""
        if self.process is None:
            return
        children = self.signal_all(signal.SIGKILL)
        self.process.wait(60)
        for pid in self.seen.union(children):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if b"_worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


def state_of(pid: int) -> str:
    """Return the letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_kept_locked(url: str) -> bool:
    """Whether somebody keeps a lock that any other worker needs; on Redis there are none."""
    statement = f"SELECT id FROM {NAMESPACE}_workers FOR UPDATE NOWAIT"
    parts = urlsplit(url)
    connection: Any
    match parts.scheme:
        case "sqlite":
            connection = sqlite3.connect(parts.path, timeout=0.5, isolation_level=None)
            statement = "BEGIN IMMEDIATE"
        case "postgres":
            connection = psycopg.connect(url)
        case "mysql":
            connection = pymysql.connect(host=parts.hostname, port=parts.port, user=parts.username, database="wg")
        case _:
            return False
    with contextlib.closing(connection):
        try:
            connection.cursor().execute(statement)
        except (sqlite3.OperationalError, psycopg.errors.LockNotAvailable, pymysql.err.OperationalError):
            return True
        return False


@contextlib.contextmanager
def producing(
    log: Log,
    url: str,
    namespace: str,
    *,
    count: int,
    batch: int = 100,
    pause: float = 0.05,
    prefix: str = "job-",
    gate: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a producer process beside the block; it is waited for (and must have succeeded) at the end.

    With a `gate` it goes on, up to `count`, until that file exists.
    """
    command = [sys.executable, "producer.py", url, namespace, prefix, str(count), str(batch), str(pause)]
    command += [str(gate)] if gate else []
    producer = subprocess.Popen(command, cwd=HERE, env={**os.environ, "WG_FAULT_LOG": str(log.path)})
    try:
        yield producer
        assert producer.wait(120) == 0
    finally:
        producer.kill()
        producer.wait(60)
