"""What a person sees while the demo runs: a bar where rich and a terminal are, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the demo is."""

    done: int
    total: int
    retries: int


class Display(Protocol):
    """Where the demo tells its story. A context manager; used by one thread."""

    def __enter__(self) -> Self:
        """Begin to draw."""

    def __exit__(self, *exc: object) -> None:
        """Leave the terminal as it was."""

    def say(self, text: str) -> None:
        """Write one line that stays."""

    def show(self, progress: Progress) -> None:
        """Draw the progress anew."""


def best_display(*, quiet: bool) -> Display:
    """Return the display that fits stdout."""
    if quiet:
        return SilentDisplay()
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return RichDisplay()
    return PlainDisplay()


class SilentDisplay:
    """Shows nothing, for programs that want the summary only."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def say(self, text: str) -> None:
        """Show nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""


class PlainDisplay(SilentDisplay):
    """A line for each tenth of the jobs."""

    def __init__(self) -> None:
        self._tenth = 0

    def say(self, text: str) -> None:
        """Write one line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def show(self, progress: Progress) -> None:
        """Write one line when another tenth is done."""
        tenth = 10 * progress.done // progress.total
        if tenth > self._tenth:
            self._tenth = tenth
            self.say(f"  {tenth * 10:3} %  {_counts(progress)}")


class RichDisplay:
    """A bar that moves, and the lines above it."""

    def __init__(self) -> None:
        from rich.progress import (  # noqa: PLC0415 - optional, and only a terminal pays for it
            BarColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as RichProgress  # noqa: PLC0415

        self._bars = RichProgress(
            BarColumn(bar_width=32), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Write one line above the bar."""
        self._bars.console.print(text, highlight=False, markup=False)

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bars.add_task("", total=progress.total)
        self._bars.update(self._task, completed=progress.done, description=_counts(progress))


def _counts(progress: Progress) -> str:
    return f"{progress.done:,} of {progress.total:,} jobs, {progress.retries} failed by design"
