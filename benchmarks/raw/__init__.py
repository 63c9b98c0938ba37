"""The raw stores: the statements of each store's layout, with no library around them.

Each has the same five calls, so that one set of cases measures all of them.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Protocol

from wg_core.errors import ConfigError


class RawStore(Protocol):
    """A store used by hand. Ids are counted up, bodies are given."""

    def push_one(self, body: bytes) -> None:
        """Store one job and wait for the answer."""

    def push_many(self, bodies: list[bytes]) -> None:
        """Store a batch in one transaction or script."""

    def cycle(self, limit: int) -> int:
        """Claim up to `limit` jobs, then finish them: two steps, as any worker needs. Return how many."""

    def round_trip(self) -> None:
        """The cheapest question the store can answer."""

    def tidy(self) -> None:
        """Let the store clear away what was deleted, here and on wg's side, where that is a thing to ask for."""

    def close(self) -> None:
        """Let go."""


_STORES = {
    "memory": "RawMemory",
    "sqlite": "RawSQLite",
    "redis": "RawRedis",
    "postgres": "RawPostgres",
    "mariadb": "RawMariaDB",
}


def open_raw(store: str, folder: Path, url: str) -> RawStore:
    """Return the raw side of a store; SQLite gets a file of its own beside wg's, the servers' clients their server."""
    if store not in _STORES:
        raise ConfigError(f"no raw store {store!r}; known: {', '.join(_STORES)}")
    if store == "sqlite":
        url = f"sqlite:{folder / 'raw.db'}"
    module = importlib.import_module(f"benchmarks.raw.{store}")  # its driver is needed only where it is measured
    raw: RawStore = getattr(module, _STORES[store])(url)
    return raw


def sample_body(size: int = 200) -> bytes:
    """Return a JSON body of about `size` bytes."""
    return json.dumps({"v": 1, "args": {"text": "x" * max(0, size - 30)}}).encode()
