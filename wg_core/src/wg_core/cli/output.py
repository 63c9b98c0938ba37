"""What the commands write: tables for people, JSON for programs.

Tables are drawn by rich when it is installed and stdout is a terminal; otherwise they are plain aligned text, which
`awk` and `less` like better. JSON is ASCII with one job a line, whatever the locale. Moments are UTC.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(slots=True)
class Table:
    """Rows of text under column names; numbers are written to the right."""

    columns: Sequence[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    numbers: frozenset[str] = frozenset()

    def add(self, *cells: object) -> None:
        """Add a row; None is an empty cell."""
        self.rows.append(tuple("" if cell is None else printable(str(cell)) for cell in cells))

    def show(self, empty: str) -> None:
        """Write the table to stdout, or the line `empty` to stderr where there are no rows."""
        if not self.rows:
            click.echo(empty, err=True)
        elif is_terminal_with_rich():
            self._show_rich()
        else:
            self._show_plain()

    def _show_plain(self) -> None:
        lines = [tuple(column.upper() for column in self.columns), *self.rows]
        widths = [max(len(line[number]) for line in lines) for number in range(len(self.columns))]
        for line in lines:
            cells = [
                cell.rjust(width) if column in self.numbers else cell.ljust(width)
                for cell, width, column in zip(line, widths, self.columns, strict=True)
            ]
            click.echo("  ".join(cells).rstrip())

    def _show_rich(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - optional, and only a terminal pays for it
        from rich.table import Table as RichTable  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = RichTable(box=None, header_style="bold", pad_edge=False)
        for column in self.columns:
            justify = "right" if column in self.numbers else "left"
            table.add_column(column, justify=justify, overflow="fold", no_wrap=column != self.columns[-1])  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))  # Text: a name like [red] is no markup
        Console().print(table)


def is_terminal_with_rich() -> bool:
    """Say whether to draw for a person: stdout is a terminal and rich is installed."""
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


def print_json(value: Any) -> None:
    """Write one JSON value, indented."""
    click.echo(json.dumps(value, indent=2))


def print_json_lines(values: Iterable[Any]) -> None:
    """Write a JSON array with one value a line, as the values come: a long list is never held in memory."""
    separator = "["
    for value in values:
        click.echo(f"{separator}\n{json.dumps(value)}", nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else "\n]")


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Write names and values, one pair a line, the values aligned; a value of None is left out."""
    known = [(name, printable(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name.ljust(width)}  {value}")


def printable(text: str) -> str:
    r"""Return the text with control characters escaped (`\x1b`), so that a job's name cannot drive the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def iso(timestamp: int | None) -> str | None:
    """Return milliseconds since the epoch as ISO 8601 in UTC with milliseconds, for JSON."""
    if timestamp is None:
        return None
    moment = datetime.fromtimestamp(timestamp // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp % 1_000:03d}Z"


def moment(timestamp: int | None) -> str | None:
    """Return milliseconds since the epoch for a person: `2030-01-31T08:00:00Z (3 min ago)`."""
    if timestamp is None:
        return None
    return f"{datetime.fromtimestamp(timestamp // 1_000, UTC):%Y-%m-%dT%H:%M:%SZ} ({ago(timestamp)})"


def ago(timestamp: int | None) -> str | None:
    """Return how far a moment is from now by this machine's clock: `3 min ago`, `in 5 s`."""
    if timestamp is None:
        return None
    seconds = time.time() - timestamp / 1_000
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float | None) -> str | None:
    """Return a duration in its largest whole unit: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return None
    for unit_seconds, unit in _UNITS:
        if seconds >= unit_seconds:
            return f"{int(seconds / unit_seconds)} {unit}"
    return f"{seconds:.1f} s"


def plural(count: int, noun: str) -> str:
    """Return `1 job`, `1,200 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def at_least(count: int, *, capped: bool) -> str:
    """Return a count as text, with a plus where the store stopped counting."""
    return f"{count:,}{'+' if capped else ''}"
