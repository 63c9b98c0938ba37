"""The Lua scripts: one file per transition in `lua/`, shared parts in `lua/lib/`, put together by their headers.

A script begins with two directives: `-- flags:` for Redis (`no-writes`, `allow-oom`) and `-- uses:` with the parts
that go in front of it, in this order.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script as it is sent."""

    name: str
    source: str
    sha: str


@functools.cache
def load(name: str) -> Script:
    """Return the script of `lua/<name>.lua`, with the parts that it uses."""
    body = _read(f"{name}.lua")
    flags, uses = (_directive(body, line, word) for line, word in enumerate(("flags", "uses")))
    # The first line makes Redis refuse a script before it runs (out of memory, read-only) rather than in the middle.
    shebang = f"#!lua flags={','.join(flags)}" if flags else "#!lua"
    source = "\n".join([shebang, *(_read(f"lib/{part}.lua") for part in uses), body])
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _directive(body: str, line: int, word: str) -> list[str]:
    text = body.splitlines()[line]
    assert text.startswith(f"-- {word}:"), f"line {line + 1} must be '-- {word}: …', is {text!r}"
    return text.partition(":")[2].split()


def _read(path: str) -> str:
    return files("wg_redis").joinpath("lua", path).read_text(encoding="utf-8")
