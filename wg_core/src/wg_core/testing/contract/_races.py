"""Letting things happen at the same moment: in threads, and in processes that wait for a starting signal."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from wg_core.testing.contract._actors import PATIENCE_SECONDS

Answer = TypeVar("Answer")


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """Start every call in a thread of its own at the same moment; return their answers in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        barrier.wait(PATIENCE_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls), thread_name_prefix="racer") as threads:
        futures = [threads.submit(run, call) for call in calls]
        return [future.result(4 * PATIENCE_SECONDS) for future in futures]


def in_processes(orders: Sequence[dict[str, Any]]) -> list[Any]:
    """Let a process of its own carry out each order at the same moment; return their answers in order.

    An order is what `_race_child` understands.
    """
    children = [_spawn(order) for order in orders]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", "the child did not come up"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        return [json.loads(child.communicate(timeout=4 * PATIENCE_SECONDS)[0]) for child in children]
    finally:
        for child in children:
            with child:
                child.kill()


def _spawn(order: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wg_core.testing._race_child", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
