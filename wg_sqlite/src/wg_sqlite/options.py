"""The URL and the options of an SQLite store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from wg_core.errors import ConfigError
from wg_core.sql import (
    POOL_OPTIONS,
    QUERY_LOG_OPTIONS,
    Option,
    PoolOptions,
    QueryLog,
    at_least,
    boolean,
    one_of,
    read_options,
    seconds,
)

MEMORY = ":memory:"

_FILE_OPTIONS = {
    # MEMORY and OFF are not offered: a process that is killed while it writes would leave a corrupt file behind.
    "journal_mode": Option(one_of("WAL", "DELETE", "TRUNCATE", "PERSIST")),
    "synchronous": Option(one_of("OFF", "NORMAL", "FULL", "EXTRA")),
    "busy_timeout": Option(seconds(most=600)),
    "wal_autocheckpoint": Option(at_least(0)),
    "read_only": Option(boolean),
    "auto_migrate": Option(boolean),
    **POOL_OPTIONS,
}
_MEMORY_OPTIONS = {
    "cache_size": Option(at_least(None)),
    "temp_store": Option(one_of("DEFAULT", "FILE", "MEMORY")),
    **QUERY_LOG_OPTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOptions:
    """Where the store is and how its connections are set up. Durations are seconds."""

    path: str
    """An absolute path, or `:memory:`."""
    journal_mode: str = "WAL"
    synchronous: str = "NORMAL"
    busy_timeout: float = 5.0
    """How long a call waits for other processes that write."""
    wal_autocheckpoint: int = 1_000
    """How many pages the write-ahead log holds before it is copied into the file; 0: never by itself."""
    read_only: bool = False
    auto_migrate: bool = True
    """Whether the first use makes or upgrades the tables; otherwise `wg migrate` has to be run before."""
    cache_size: int | None = None
    """In pages, or in KiB when negative; None: SQLite's default."""
    temp_store: str | None = None
    pool: PoolOptions = field(default_factory=PoolOptions)
    """For the connections that read; there is always one that writes."""
    query_log: QueryLog | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the jobs live in this process only."""
        return self.path == MEMORY

    def uri(self, mode: str) -> str:
        """Return the name for sqlite3.connect; mode is ro, rw or rwc (creates the file)."""
        return f"file:{quote(self.path)}?mode={mode}"


def parse_url(url: str, keywords: Mapping[str, Any]) -> SQLiteOptions:
    """Return the options of a URL and of keywords, which win; ConfigError says what to write instead."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "sqlite":
        raise ConfigError(f"an SQLite URL begins with 'sqlite:', got {url!r}")
    location, _, query = rest.partition("?")
    path = _path(location)
    known = _MEMORY_OPTIONS if path == MEMORY else _MEMORY_OPTIONS | _FILE_OPTIONS
    given = read_options("sqlite::memory" if path == MEMORY else "sqlite", query, keywords, known)
    query_log = QueryLog.from_options(given)
    pool_names = {pool_field.name for pool_field in fields(PoolOptions)}
    pool = PoolOptions(**{name: value for name, value in given.items() if name in pool_names})
    own = {name: value for name, value in given.items() if name not in pool_names}
    return SQLiteOptions(path=path, pool=pool, query_log=query_log, **own)


def _path(location: str) -> str:
    if location == MEMORY:
        return MEMORY
    if location.lstrip("/") == MEMORY:
        raise ConfigError(f"a store in memory is 'sqlite::memory:', got 'sqlite:{location}'")
    if location.startswith("//"):
        host, slash, path = location[2:].partition("/")
        if host or not slash:
            raise ConfigError(
                f"'sqlite://' is followed by an absolute path, as in 'sqlite:///var/lib/jobs.db'; for a path relative "
                f"to the working directory write 'sqlite:{host or 'jobs.db'}', got 'sqlite:{location}'"
            )
        location = f"/{path.lstrip('/')}"
    path = unquote(location, errors="strict")
    if not path or path.endswith("/") or "\0" in path:
        raise ConfigError(f"an SQLite URL names a file, as in 'sqlite:jobs.db', got 'sqlite:{location}'")
    # Absolute from now on, so that a process that changes its directory stays with its file.
    return str(Path.cwd() / path)
