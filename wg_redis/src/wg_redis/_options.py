"""From a URL and keywords to the settings of a connection, every one checked and no password ever shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from wg_core.errors import ConfigError
from wg_core.registry import redact

DEFAULT_PORT = 6379
TLS_SCHEMES = frozenset({"rediss", "valkeys"})
UNIX_SCHEME = "redis+unix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to reach a server. Durations are seconds."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    unix_socket: str | None = None
    """Path of a socket, used instead of host and port."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    max_connections: int = 32
    """For calls; a blocking `wait` has a connection of its own beside them."""
    socket_timeout: float = 5.0
    """The longest wait for the answer to one call."""
    connect_timeout: float = 5.0
    protocol: int = 2
    """2 or 3. With 2, which every server and proxy speaks, connecting takes one round trip less."""
    client_name: str = "wg"
    """Shown by CLIENT LIST."""
    ssl_verify: str = "required"
    """`required`: the certificate and the host name are checked. `none`: nothing is, so anyone may listen."""
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    @property
    def address(self) -> str:
        """Where the server is, for messages."""
        return self.unix_socket or f"{self.host}:{self.port}/{self.db}"


def parse_options(url: str, keywords: Mapping[str, Any]) -> Options:
    """Return the options of a URL and keywords (which win); ConfigError names what is wrong and what was expected."""
    parts = _split(url)
    given = _from_location(url, parts) | _from_query(parts.query) | dict(keywords)
    checked = {name: _checked(name, value) for name, value in given.items()}
    if checked.get("ssl_key") and not checked.get("ssl_cert"):
        raise ConfigError("ssl_key needs ssl_cert, the certificate that it belongs to")
    return Options(**checked, tls=parts.scheme in TLS_SCHEMES)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - this is where urllib checks it
    except ValueError:
        parts = None  # its message may quote a part of the password
    if parts is None or parts.fragment or not url.partition(":")[2].startswith("//"):
        raise ConfigError(
            f"a Redis URL looks like 'redis://user:password@host:6379/0', with special characters of the password "
            f"percent-encoded (# is %23, / is %2F); got {redact(url)!r}"
        ) from None
    return parts


def _from_location(url: str, parts: SplitResult) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if parts.username:
        given["username"] = unquote(parts.username)
    if parts.password:
        given["password"] = unquote(parts.password)
    path = unquote(parts.path)
    if parts.scheme == UNIX_SCHEME:
        if parts.hostname or not path.strip("/"):
            raise ConfigError(f"a socket URL looks like 'redis+unix:///path/to.sock?db=0', got {redact(url)!r}")
        return given | {"unix_socket": path}
    if parts.hostname:
        given["host"] = unquote(parts.hostname)
    if parts.port is not None:
        given["port"] = parts.port
    if path.strip("/"):
        given["db"] = path.strip("/")
    return given


def _from_query(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise ConfigError(f"option {name!r} is given twice in the URL")
        given[name] = value
    return given


# ---------------------------------------------------------------------- checks, one per kind of value

_Check: TypeAlias = Callable[[str, Any], Any]


def _whole_number(least: int, most: int) -> _Check:
    def check(name: str, value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ConfigError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
        return number

    return check


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not math.isfinite(seconds) or seconds <= 0:
        raise ConfigError(f"{name} must be more than zero seconds, got {value!r}")
    return seconds


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be a text, got {value!r}")
    return value


def _client_name(name: str, value: Any) -> str:
    text = _text(name, value)
    if not all("!" <= character <= "~" for character in text):
        raise ConfigError(f"{name} must hold visible ASCII characters only, got {value!r}")
    return text


def _secret(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a text, got a {type(value).__name__}")
    return value


def _choice(*choices: str) -> _Check:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise ConfigError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
        return str(value)

    return check


_CHECKS: dict[str, _Check] = {
    "host": _text,
    "port": _whole_number(1, 65_535),
    "unix_socket": _text,
    "db": _whole_number(0, 1_000_000),
    "username": _text,
    "password": _secret,
    "max_connections": _whole_number(1, 100_000),
    "socket_timeout": _seconds,
    "connect_timeout": _seconds,
    "protocol": _whole_number(2, 3),
    "client_name": _client_name,
    "ssl_verify": _choice("required", "none"),
    "ssl_ca": _text,
    "ssl_cert": _text,
    "ssl_key": _text,
}


def _checked(name: str, value: Any) -> Any:
    check = _CHECKS.get(name)
    if check is None:
        raise ConfigError(f"unknown option {name!r} of a Redis store{_nearest(name)}; known: {', '.join(_CHECKS)}")
    return check(name, value)


def _nearest(name: str) -> str:
    import difflib  # noqa: PLC0415 - 5 ms of import that only a mistake needs

    near = difflib.get_close_matches(name, _CHECKS, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
