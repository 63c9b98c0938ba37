"""The demo's input: the source files of the running Python's standard library."""

from __future__ import annotations

import sysconfig
from pathlib import Path

MAX_FILES = 2_500
MAX_FILE_BYTES = 512 * 1024
"""A few tables of the library are larger; tokenizing one would hold up the show for seconds."""

_NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})


def find_sources(limit: int | None = None) -> list[str]:
    """Return up to `limit` paths of the library's modules, packages and tests, in a fixed order."""
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        str(path)
        for path in sorted(root.rglob("*.py"))
        if _NOT_THE_LIBRARY.isdisjoint(path.relative_to(root).parts)
        and path.is_file()
        and path.stat().st_size <= MAX_FILE_BYTES
    ]
    return found[: min(limit or MAX_FILES, MAX_FILES)]


def short_name(path: str) -> str:
    """Return the path within the library, for people."""
    root = Path(sysconfig.get_path("stdlib"))
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
