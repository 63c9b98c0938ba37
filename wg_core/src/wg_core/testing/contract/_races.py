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
            _await_readiness(child)
        for child in children:
            _start(child)
        return [json.loads(child.communicate(timeout=4 * PATIENCE_SECONDS)[0]) for child in children]
    finally:
        for child in children:
            _kill(child)


def lines_of_killed(order: dict[str, Any], after_lines: int) -> list[Any]:
    """Let a process carry out an order until it said so many lines, kill it, and return all it had said."""
    child = _spawn(order)
    try:
        _await_readiness(child)
        _start(child)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(after_lines)]
        child.kill()
        said += child.stdout.readlines()
    finally:
        _kill(child)
    return [json.loads(line) for line in said if line.endswith("\n")]


def _spawn(order: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wg_core.testing._race_child", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _await_readiness(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", "the child did not come up"


def _start(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def _kill(child: subprocess.Popen[str]) -> None:
    with child:
        child.kill()
