"""Which product and version answers, and what that means for us."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wg_core.errors import BackendRejectedError

_OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0, 1)}
"""The first versions with SKIP LOCKED."""
_EXACT_COLLATION = (8, 0, 17)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, by the answer to `SELECT VERSION()`."""

    is_mariadb: bool
    version: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Server:
        """Read the text of VERSION(), such as `10.11.6-MariaDB-log` or `8.0.36`; BackendRejectedError if too old."""
        found = re.search(r"\d+(?:\.\d+)+", text.removeprefix("5.5.5-"))  # a prefix for old replicas
        version = tuple(int(part) for part in found[0].split(".")) if found else ()
        server = cls("mariadb" in text.lower(), version)
        oldest = _OLDEST[server.product]
        if server.version < oldest:
            raise BackendRejectedError(
                f"{server.name} is too old: wg needs {server.product} {'.'.join(map(str, oldest))} or newer"
            )
        return server

    @property
    def product(self) -> str:
        """MariaDB or MySQL."""
        return "MariaDB" if self.is_mariadb else "MySQL"

    @property
    def name(self) -> str:
        """Product and version."""
        return f"{self.product} {'.'.join(map(str, self.version))}"

    @property
    def collation(self) -> str:
        """The collation that compares code point by code point and, where there is one, counts trailing spaces."""
        if self.is_mariadb:
            return "utf8mb4_nopad_bin"
        return "utf8mb4_0900_bin" if self.counts_trailing_spaces else "utf8mb4_bin"

    @property
    def counts_trailing_spaces(self) -> bool:
        """Whether `'a'` and `'a '` are two names."""
        return self.is_mariadb or self.version >= _EXACT_COLLATION
