"""A worker process as its supervisor sees it: started, spoken to, and in the end taken to pieces."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from wg_core._board import SharedBoard, create_memory
from wg_core._channel import Channel, Setup
from wg_core._vigil import Pulse

STOP_MARGIN_SECONDS = 10.0
"""What a process gets beyond its shutdown_timeout to give its jobs back, before it is killed."""


@dataclass(slots=True, eq=False)
class Child:
    """One worker process. Fields are grouped by who may write them; any thread may read."""

    # Set once.
    worker: str
    process: subprocess.Popen[bytes]
    channel: Channel
    board: SharedBoard
    pulse: Pulse
    """Only the thread that beats looks at it."""
    started_at: float = field(default_factory=time.time)
    """Seconds since the epoch, for people."""
    # Only the main thread writes these.
    is_ready: bool = False
    """Its handlers are imported; it may be registered."""
    is_idle: bool = False
    """It said that there was nothing left to do."""
    is_mute: bool = False
    """Its channel is not waited on any more."""
    is_leaving: bool = False
    """Another child has its seat; it only waits for its handlers to finish."""
    was_cut_off: bool = False
    """It was killed because the supervisor stops, not for anything it did."""
    said_exit_code: int | None = None
    """How its worker ended, if it said goodbye: what keeps or ends the process after that is not the worker."""
    has_ended: bool = False
    """Its last message or its end was seen: no more beats."""
    leave_by: float | None = None
    """When it must have exited, if it was asked to."""
    may_outstay: bool = False
    """It may go on after `leave_by` while a handler's deadline lies ahead."""
    stopped_since: float | None = None
    # Only the thread that beats writes these.
    is_registered: bool = False
    is_lease_lost: bool = False
    # Whoever kills it writes this first.
    cause: str | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def exit_code(self) -> int:
        """How its worker ended, or else its process, which must have been waited for."""
        return self.process.returncode if self.said_exit_code is None else self.said_exit_code

    def kill(self, cause: str) -> None:
        """End it with SIGKILL, remembering why; the first cause counts."""
        self.cause = self.cause or cause
        self.process.kill()

    def describe_end(self) -> str:
        """Say how the process ended, for the history of its jobs and the log."""
        code = self.process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        return f"process {self.pid} {how}" + (f" ({self.cause})" if self.cause else "")


def spawn(setup: Setup, most_silence_per_look: float) -> Child:
    """Start a worker process and send it its setup; returns at once, before it is ready. OSError: it cannot start.

    A new interpreter, never a fork, so that it inherits no connection and no lock. It has a session of its own: a
    Ctrl-C in the terminal reaches the supervisor only, which asks it to stop.
    """
    ours, theirs = socket.socketpair()
    memory = create_memory(setup.settings.threads)
    try:
        board = SharedBoard(memory, setup.settings.threads)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, two numbers
            [sys.executable, "-m", "wg_core._worker_process", str(theirs.fileno()), str(memory)],
            pass_fds=(theirs.fileno(), memory),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()  # else the end of the process would not be the end of the stream
        os.close(memory)
    child = Child(setup.worker, process, Channel(ours), board, Pulse(most_silence_per_look))
    child.channel.send(setup)
    return child
