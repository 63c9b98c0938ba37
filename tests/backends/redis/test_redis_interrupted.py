"""What an exception from outside leaves behind: the time limit of a handler raises one in the middle of a call."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.backends.redis.support import OpenRedis, new_job
from wg_redis import RedisBackend

MOST_LINES = 1_000


class OutOfTime(BaseException):
    """What is raised from outside."""


@pytest.fixture
def backend(open_redis: OpenRedis, redis_url: str) -> RedisBackend:
    """One connection only, so that losing it is losing all; no patience for one that does not come back."""
    backend = open_redis(redis_url, max_connections=1, socket_timeout=0.5)
    backend.enqueue([new_job("first")])
    return backend


@pytest.mark.parametrize("connected", [True, False], ids=["on an idle connection", "while it connects"])
def test_an_exception_in_any_line_of_a_call_leaves_a_backend_that_works(
    backend: RedisBackend, *, connected: bool
) -> None:
    for number in range(MOST_LINES):
        if not connected:
            backend._server._links.drop_idle()
        if not interrupted(lambda: backend.get(["first"]), number):
            assert number > 20
            return
        assert [job.id for job in backend.get(["first"])] == ["first"], f"after line {number}"
    raise AssertionError("the call never came to its end")


def interrupted(call: Callable[[], object], number: int) -> bool:
    """Make the call, in a thread, with an exception in that line of it; False when it has fewer lines."""
    outcome: list[bool] = []

    def run() -> None:
        before = sys.gettrace()
        sys.settrace(Tracer(number))
        try:
            call()
        except OutOfTime:
            outcome.append(True)
        else:
            outcome.append(False)
        finally:
            sys.settrace(before)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


class Tracer:
    """Raises in one line of our package.

    Not in a `with` itself: Python looks for exceptions from other threads after calls, and a lock that is entered or
    left there has no line of its own.
    """

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, frame: FrameType, event: str, _: Any) -> Tracer | None:
        if "/wg_redis/" not in frame.f_code.co_filename:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith("with "):
            if not self._left:
                sys.settrace(None)
                raise OutOfTime
            self._left -= 1
        return self
