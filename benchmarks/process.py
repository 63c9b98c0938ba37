"""Figures of whole processes: import time, memory and idle CPU of a worker. Linux only (reads /proc)."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.measure import Figure


def import_time() -> Figure:
    """How much longer a Python that imports wg_core takes than one that imports nothing."""
    bare = statistics.median(_wall("pass") for _ in range(7))
    with_wg = statistics.median(_wall("import wg_core") for _ in range(7))
    return Figure(store="-", what="import wg_core", unit="ms", wg=(with_wg - bare) * 1e3, raw=None, goal="< 60 ms")


def idle_worker(store: str, url: str, seconds: float = 10.0) -> list[Figure]:
    """CPU share and memory of `wg worker` (supervisor and one process) with nothing to do."""
    command = [sys.executable, "-m", "wg_core.cli", "worker", "--url", url, "--namespace", "benchidle"]
    supervisor = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        child = _only_child(supervisor.pid)
        threading.Event().wait(3.0)  # past start-up
        before = _cpu_seconds(supervisor.pid) + _cpu_seconds(child)
        threading.Event().wait(seconds)
        share = (_cpu_seconds(supervisor.pid) + _cpu_seconds(child) - before) / seconds
        memory = _resident_megabytes(child)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(60)
    return [
        Figure(store=store, what="idle worker and supervisor, CPU", unit="%", wg=share * 100, raw=None, goal="< 1 %"),
        Figure(store=store, what="worker process, resident", unit="MB", wg=memory, raw=None, goal="< 45 MB"),
    ]


def _wall(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def _only_child(pid: int) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if children:
            return int(children[0])
        threading.Event().wait(0.05)
    raise RuntimeError("wg worker started no worker process within 20 s")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
