"""The URL and the options of a MySQL or MariaDB store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from wg_core.errors import ConfigError
from wg_core.registry import redact
from wg_core.sql import (
    POOL_OPTIONS,
    QUERY_LOG_OPTIONS,
    Option,
    PoolOptions,
    QueryLog,
    at_least,
    boolean,
    read_options,
    seconds,
)

DEFAULT_PORT = 3306
_SCHEMES = ("mysql", "mariadb")
_DRIVER = "pymysql"
_EXAMPLE = "mysql://user:password@localhost:3306/app"


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("the path of a file")
    return value


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")  # noqa: TRY004 - what the readers of options expect
    return value


_OPTIONS = {
    "unix_socket": Option(_file_name),
    "ssl_ca": Option(_file_name),
    "ssl_cert": Option(_file_name),
    "ssl_key": Option(_file_name),
    "ssl_key_password": Option(_any_text),
    "ssl_verify_cert": Option(boolean),
    "ssl_verify_identity": Option(boolean),
    "ssl_disabled": Option(boolean),
    "connect_timeout": Option(seconds(least=0.001, most=3_600)),
    "read_timeout": Option(seconds(least=0.001, most=3_600)),
    "write_timeout": Option(seconds(least=0.001, most=3_600)),
    "lock_timeout": Option(at_least(1)),
    "poll_interval": Option(seconds(least=0.001, most=60)),
    "returning": Option(boolean),
    "auto_migrate": Option(boolean),
    **POOL_OPTIONS,
    **QUERY_LOG_OPTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLOptions:
    """Where the store is and how its connections are set up. Durations are seconds."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    user: str | None = None
    """None: the name of the user of the operating system."""
    password: str = field(default="", repr=False)
    database: str
    unix_socket: str | None = None
    ssl_ca: str | None = None
    """A file of certificates that the server's is checked against."""
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    ssl_verify_cert: bool | None = None
    """None: where `ssl_ca` is given."""
    ssl_verify_identity: bool = False
    ssl_disabled: bool = False
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    """How long a call waits for the server's answer before it gives the connection up; longer than `lock_timeout`."""
    write_timeout: float = 30.0
    lock_timeout: int = 3
    """How long the server lets a statement wait for the locks of others, in whole seconds."""
    poll_interval: float = 0.03
    """The longest pause between two looks for work."""
    returning: bool | None = None
    """Whether DELETE … RETURNING is used; None: where the server has it."""
    auto_migrate: bool = True
    pool: PoolOptions = field(default_factory=PoolOptions)
    query_log: QueryLog | None = None

    @property
    def place(self) -> str:
        """Where the store is, for messages."""
        return f"{self.unix_socket or f'{self.host}:{self.port}'}/{self.database}"

    def for_driver(self) -> dict[str, Any]:
        """Return the keywords of `pymysql.Connection` that say where to go and how to prove who we are."""
        names = ("host", "port", "user", "database", "unix_socket", "ssl_ca", "ssl_cert", "ssl_key")
        timeouts = ("connect_timeout", "read_timeout", "write_timeout")
        verify = bool(self.ssl_ca) if self.ssl_verify_cert is None else self.ssl_verify_cert
        return {
            **{name: getattr(self, name) for name in (*names, *timeouts)},
            "password": self.password.encode(),  # the driver would write text as Latin-1
            "ssl_disabled": self.ssl_disabled,
            "ssl_verify_cert": verify or None,
            # Without one OpenSSL would ask for it at the terminal.
            "ssl_key_password": (self.ssl_key_password or "") if self.ssl_cert else None,
            "ssl_verify_identity": self.ssl_verify_identity or None,
        }


def parse_url(url: str, keywords: Mapping[str, Any]) -> MySQLOptions:
    """Return the options of a URL and of keywords, which win; ConfigError says what to write instead."""
    parts = _split(url)
    scheme, _, driver = parts.scheme.partition("+")
    if scheme not in _SCHEMES or driver not in {"", _DRIVER}:
        raise ConfigError(
            f"wg speaks to MySQL through PyMySQL: write '{scheme}://…' instead of '{parts.scheme}://…' "
            f"(in {redact(url)!r})"
        )
    given = read_options(scheme, parts.query, keywords, _OPTIONS)
    query_log = QueryLog.from_options(given)
    pool_names = {pool_field.name for pool_field in fields(PoolOptions)}
    pool = PoolOptions(**{name: value for name, value in given.items() if name in pool_names})
    own = {name: value for name, value in given.items() if name not in pool_names}
    options = MySQLOptions(**_location(parts, url), pool=pool, query_log=query_log, **own)
    _check(options)
    return options


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _wrong_url(url) from None  # its message may quote a part of the password
    if not url[len(parts.scheme) :].startswith("://") or parts.fragment:
        raise _wrong_url(url)
    return parts


def _wrong_url(url: str) -> ConfigError:
    return ConfigError(
        f"a MySQL URL looks like {_EXAMPLE!r}, with special characters of the password percent-encoded (# is %23, "
        f"/ is %2F); got {redact(url)!r}"
    )


def _location(parts: SplitResult, url: str) -> dict[str, Any]:
    database = unquote(parts.path.removeprefix("/"), errors="strict")
    if not database or "/" in database or "\0" in database:
        raise ConfigError(f"a MySQL URL names a database after the host, as in {_EXAMPLE!r}, got {redact(url)!r}")
    location: dict[str, Any] = {"database": database, "port": parts.port or DEFAULT_PORT}
    if parts.hostname:
        location["host"] = unquote(parts.hostname)
    if parts.username:
        location["user"] = unquote(parts.username)
    if parts.password:
        location["password"] = unquote(parts.password)
    return location


def _check(options: MySQLOptions) -> None:
    if options.lock_timeout >= options.read_timeout:
        raise ConfigError(
            f"read_timeout must be longer than lock_timeout ({options.lock_timeout} s), got {options.read_timeout:g} s"
        )
    wants_tls = [
        name
        for name in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity")
        if getattr(options, name)
    ]
    if options.ssl_disabled and wants_tls:
        raise ConfigError(f"ssl_disabled contradicts {', '.join(wants_tls)}: leave one of them out")
    if options.ssl_key and not options.ssl_cert:
        raise ConfigError("ssl_key is the key of a certificate: give ssl_cert too")
