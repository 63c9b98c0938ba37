"""Supervisors as real processes, and the lines that they and their handlers write."""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wg_core.backend import Backend
from wg_core.job import NewJob

HERE = Path(__file__).parent
NAMESPACE = "supervised"
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], what: str, seconds: float = 60.0) -> Found:
    """Return the first true answer of `condition`; fail with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        threading.Event().wait(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole JSON lines of a file; none when it does not exist."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


class Supervised:
    """One supervisor process, its worker processes, and what they wrote."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._log = folder / "jobs.log"  # shared by all supervisors of a test
        self._events = folder / f"events-{id(self)}.log"
        self._output = folder / f"output-{id(self)}.log"
        self.environment = {**os.environ, "WG_TEST_LOG": str(self._log)}
        self._process: subprocess.Popen[bytes] | None = None

    def import_from(self, folder: Path) -> None:
        """Let worker processes import modules from the folder, however often these change."""
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def start(self, *modules: str, **settings: Any) -> None:
        """Start it; returns before it is ready."""
        command = [sys.executable, "run_supervisor.py", self.url, NAMESPACE, json.dumps(settings), str(self._events)]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *(modules or ("supervised_jobs",))],
                cwd=HERE,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def output(self) -> str:
        """Return everything that the supervisor and its worker processes printed."""
        return self._output.read_text()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what `on_event` heard of these kinds."""
        return [event for event in read_lines(self._events) if event["kind"] in kinds]

    def log(self, event: str, job_id: str | None = None) -> list[dict[str, Any]]:
        """Return what handlers wrote (under any supervisor of the test), in the order of writing."""
        lines = [line for line in read_lines(self._log) if line["event"] == event]
        return [line for line in lines if job_id in {None, line["id"]}]

    def wait_until_started(self, job_id: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait for the n-th start of a job; return all its starts."""

        def starts() -> list[dict[str, Any]]:
            found = self.log("started", job_id)
            return found if len(found) >= times else []

        return wait_for(starts, f"{job_id} started {times} times")

    def pids(self) -> list[int]:
        """Return every worker process that was ever started."""
        return [event["pid"] for event in self.events("started")]

    def suspend(self) -> None:
        """Send SIGSTOP, at a moment when it does not keep the store from everybody by a lock of its own."""
        while True:
            self.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: state_of(self.process.pid) == "T", "the supervisor stopped")
            if can_be_written(self.url):
                return
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        """Return the exit code of the supervisor."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Whatever happened: leave no process behind."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(60)
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if b"_worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


def can_be_written(url: str) -> bool:
    """Whether nobody keeps the one lock of a SQLite file for long; servers have a lock for each row."""
    if not url.startswith("sqlite:"):
        return True
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"), timeout=0.5, isolation_level=None)) as own:
        try:
            own.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        own.execute("ROLLBACK")
        return True


def is_alive(pid: int) -> bool:
    """Whether the process exists, other than as a zombie."""
    return state_of(pid) not in {"", "Z"}


def state_of(pid: int) -> str:
    """Return the letter of the process's state; an empty one when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def enqueue_job(
    backend: Backend,
    name: str,
    job_id: str | None = None,
    *,
    max_retries: int = 3,
    timeout: float | None = None,
    **args: Any,
) -> str:
    """Enqueue a job by the name of its handler; return its id."""
    body = json.dumps({"v": 1, "args": args, "timeout": timeout}).encode()
    new = NewJob(id=job_id or f"the-{name}", name=name, body=body, max_retries=max_retries)
    backend.enqueue([new])
    return new.id
