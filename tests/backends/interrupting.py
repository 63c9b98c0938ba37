"""Calls that an exception from outside hits, as the time limit of a handler does: in each of their lines in turn."""

from __future__ import annotations

import ast
import functools
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 20.0
MOST_LINES = 2_000


class OutOfTime(BaseException):
    """What is raised from outside."""


def interruptions(call: Callable[[int], object], *folders: str) -> Iterator[int]:
    """Make the call again and again, each time with an exception in its next line within the folders.

    The call is told which line it is, counted from 0, and so is whoever looks at what it left behind. Ends with the
    first call that has no such line.
    """
    for number in range(MOST_LINES):
        tracer = Tracer(number, folders)
        in_a_thread(lambda number=number, tracer=tracer: tracer.run(lambda: call(number)))  # type: ignore[misc]
        if not tracer.has_raised:
            assert number > 20, "these lines are not those of the call"
            return
        yield number
    raise AssertionError("the call never came to its end")


def in_a_thread(call: Callable[[], object]) -> None:
    """Make a call that must end, since what it does must not wait for ever for what an interrupted one left locked."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # it goes on in the thread of the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), f"the call hangs:\n{where(thread)}"
    for error in errors:
        raise error


def where(thread: threading.Thread) -> str:
    """Return what a thread is doing."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else "nowhere"


@functools.cache
def uncovered_lines(filename: str) -> frozenset[int]:
    """Return the lines of `with` and `try` themselves, which the blocks that they begin do not cover."""
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    return frozenset(node.lineno for node in ast.walk(tree) if isinstance(node, ast.With | ast.Try))


class Tracer:
    """Raises in one line of some folders.

    Not in that of a `with` or `try` itself: Python looks for exceptions from other threads after calls, there is none,
    and the blocks around do not cover it.
    """

    def __init__(self, number: int, folders: tuple[str, ...]) -> None:
        self.has_raised = False
        self._left = number
        self._folders = folders

    def run(self, call: Callable[[], object]) -> None:
        """Make the call; its exception is the end of it."""
        before = sys.gettrace()
        sys.settrace(self._look)
        try:
            call()
        except OutOfTime:
            pass
        finally:
            sys.settrace(before)

    def _look(self, frame: FrameType, event: str, _: Any) -> Any:
        if not any(folder in frame.f_code.co_filename for folder in self._folders):
            return None
        if event == "line" and frame.f_lineno not in uncovered_lines(frame.f_code.co_filename):
            if not self._left:
                sys.settrace(None)
                self.has_raised = True
                raise OutOfTime
            self._left -= 1
        return self._look
