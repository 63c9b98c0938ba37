"""The demo's worker: the real `wg worker`, in a process tree of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

HANDLERS_MODULE = "wg_core.demo.handlers"
STOP_SECONDS = 20.0
LOG_LINES_SHOWN = 12


class WorkerCommand:
    """`wg worker` with two processes, from `start` to `stop`. A context manager; used by one thread."""

    def __init__(self, url: str, namespace: str, *, processes: int, threads: int, log_path: Path) -> None:
        self._url = url
        self._namespace = namespace
        self._arguments = ["--processes", str(processes), "--threads", str(threads), "--shutdown-timeout", "10"]
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the supervisor; the store's URL travels in the environment, where `ps` does not show it."""
        command = [sys.executable, "-m", "wg_core.cli", "worker", HANDLERS_MODULE, *self._arguments]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the supervisor runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> int | None:
        """Ask for an orderly stop and wait for it; kill what does not stop in time. Idempotent."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_lines(self) -> str:
        """Return the end of the worker's log."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("WG_")}
        return {**own, "WG_URL": self._url, "WG_NAMESPACE": self._namespace}
