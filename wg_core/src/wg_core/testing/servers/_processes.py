"""Processes by their ids: who started whom, signals to many, and the guard that ends a server with its tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_POLL_SECONDS = 0.01
_GUARD = """read -r _
children=$(cat "/proc/$0/task/$0/children" 2>/dev/null || pgrep -P "$0")
kill -KILL "$0" $children"""


def children_of(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started and that still exist; none when it is gone itself."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # no /proc: not Linux; or the process is gone
        listed = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True, check=False)
        return [int(child) for child in listed.stdout.split()]


def send_signal(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process; those that are gone are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def await_gone(pids: Iterable[int], timeout_seconds: float = 60.0) -> None:
    """Return when none of the processes holds a lock, a file or memory any more; TimeoutError after that long."""
    wait_until(lambda: not any(map(_holds_anything, pids)), timeout_seconds)


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> None:
    """Return when the condition is met, by looking every few ms; TimeoutError after that long."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds} s")
        pause.wait(_POLL_SECONDS)


def guard(pid: int) -> subprocess.Popen[bytes]:
    """Start a process that kills `pid` and its children when this one is gone: its end of the pipe then closes."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, str(pid)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss(guarding: subprocess.Popen[bytes]) -> None:
    """End a guard that is no longer needed."""
    guarding.kill()  # before its pipe closes and before the server's pid could belong to another process
    guarding.communicate()


def _holds_anything(pid: int) -> bool:
    """Whether the process exists and is not merely waiting for its parent to ask how it ended."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except PermissionError:  # of another account by now: the id was given to a new process
        return False
    except OSError:  # no /proc: not Linux, where the first process collects the dead at once; or gone meanwhile
        return Path("/proc/self").exists() is False
