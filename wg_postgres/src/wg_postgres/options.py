"""The URL and the options of a PostgreSQL store: libpq's own parameters, and ours beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict

from wg_core.errors import ConfigError
from wg_core.registry import redact
from wg_core.sql import POOL_OPTIONS, QUERY_LOG_OPTIONS, Option, PoolOptions, QueryLog, boolean, read_options, seconds

SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})

LISTENING_INTERVAL = 2.0
POLLING_INTERVAL = 0.1
"""Defaults of `poll_interval` with and without LISTEN."""

_FIXED = frozenset({"client_encoding", "replication"})
"""Parameters of libpq that would break our statements."""
_DEFAULTS = {
    "fallback_application_name": "wg",
    "connect_timeout": "10",
    # Half a minute until a server that vanished without a farewell is given up, whether we wait for it or it for us.
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SECRETS = ("password", "sslpassword", "listen_url", "scram_client_key", "scram_server_key", "oauth_client_secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Where the store is and how its connections are set up. Durations are seconds."""

    conninfo: Mapping[str, str] = field(repr=False)
    """libpq's parameters by name; may hold a password."""
    listen_conninfo: Mapping[str, str] = field(repr=False)
    """The same for the connection that waits."""
    listen: bool = True
    """Whether waiting uses LISTEN; else it polls. False where nothing may be set for a session."""
    poll_interval: float = 2.0
    """The longest time between two looks while waiting: with LISTEN, what a lost notification may cost."""
    auto_migrate: bool = True
    """Whether the first use makes or upgrades the tables; otherwise `wg migrate` has to be run before."""
    schema: str | None = None
    """The schema that holds the tables; None: the first of the search path."""
    prepared_statements: bool = True
    """False behind PgBouncer in transaction mode: nothing is prepared, and nothing set for a session."""
    statement_timeout: float = 60.0
    """The longest a statement may take; 0: no limit."""
    lock_timeout: float = 5.0
    """The longest wait for a lock before the transaction is begun again; 0: no limit."""
    pool: PoolOptions = field(default_factory=PoolOptions)
    query_log: QueryLog | None = None

    @property
    def address(self) -> str:
        """Where the store is, for messages: never a password."""
        known = self.conninfo
        hosts = known.get("host") or known.get("hostaddr") or known.get("service") or "local"
        return f"{hosts}/{known.get('dbname', known.get('user', ''))}"

    @property
    def session_settings(self) -> Mapping[str, str]:
        """What is set for every session, through libpq's parameter `options`; the user's own come later and win.

        Plans: all statements are written for index scans, and a plan that was made while a table was small must not
        read it whole once it is huge. With generic plans a statement is planned once for each connection.
        """
        if not self.prepared_statements:
            return {}
        return {
            "statement_timeout": str(round(self.statement_timeout * 1000)),
            "lock_timeout": str(round(self.lock_timeout * 1000)),
            # A process that is stopped in the middle of a transaction must not keep its locks for ever.
            "idle_in_transaction_session_timeout": "60000",
            "default_transaction_isolation": "read committed",
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
            "jit": "off",
        }


def parse_url(url: str, keywords: Mapping[str, Any]) -> PostgresOptions:
    """Return the options of a URL and of keywords, which win; ConfigError says what to write instead."""
    location, _, query = _without_scheme(url).partition("?")
    for name in _SECRETS:
        if not isinstance(keywords.get(name, ""), str):
            raise ConfigError(f"option {name} of postgres: must be text, got a {type(keywords[name]).__name__}")
    given = read_options("postgres", query, keywords, _OWN_OPTIONS | _LIBPQ_OPTIONS)
    libpq = {name: value for name, value in given.items() if name in _LIBPQ_OPTIONS}
    conninfo = _conninfo(url, location, libpq)
    own = {name: value for name, value in given.items() if name in _OWN_OPTIONS}
    _check_session(own)
    listen_url = own.pop("listen_url", None)
    query_log = QueryLog.from_options(own)
    pool_names = {pool_field.name for pool_field in fields(PoolOptions)}
    pool = PoolOptions(**{name: own.pop(name) for name in pool_names & own.keys()})
    own.setdefault("listen", listen_url is not None or own.get("prepared_statements", True))
    own.setdefault("poll_interval", LISTENING_INTERVAL if own["listen"] else POLLING_INTERVAL)
    return PostgresOptions(
        conninfo=conninfo,
        listen_conninfo=conninfo if listen_url is None else _listen_conninfo(listen_url),
        pool=pool,
        query_log=query_log,
        **own,
    )


def _without_scheme(url: str) -> str:
    scheme, _, rest = url.partition(":")
    base, _, driver = scheme.lower().partition("+")
    if driver and scheme.lower() not in SCHEMES:
        raise ConfigError(
            f"wg speaks to PostgreSQL through psycopg 3: write '{base}://…' instead of '{scheme}://…' "
            f"(in {redact(url)!r})"
        )
    login = rest.removeprefix("//").partition("?")[0].rpartition("@")[0]
    if base not in SCHEMES or not rest.startswith("//") or "#" in rest or "/" in login or "@" in login:
        raise _wrong_url(url)
    return rest


def _wrong_url(url: str) -> ConfigError:
    return ConfigError(
        f"a PostgreSQL URL looks like 'postgres://user:password@host:5432/database', with special characters of the "
        f"password percent-encoded (# is %23, / is %2F); got {redact(url)!r}"
    )


def _conninfo(url: str, location: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Let libpq read the URL, so that hosts, sockets and defaults mean what they mean to psql."""
    query = urlencode(parameters, quote_via=quote)
    try:
        parsed = conninfo_to_dict(f"postgresql:{location}{'?' if query else ''}{query}")
    except Error:
        raise _wrong_url(url) from None  # its message may quote a part of the password
    if not str(parsed.get("port", "0")).replace(",", "0").isdigit():  # nor a part behind a ? or /
        raise _wrong_url(url)
    given = {name: str(value) for name, value in parsed.items()}
    # Of several hosts one may be a standby, which connects and then refuses every call: it must not be taken for good.
    several = {"target_session_attrs": "read-write"} if "," in given.get("host", given.get("hostaddr", "")) else {}
    return _DEFAULTS | several | given | {"client_encoding": "UTF8"}


def _check_session(own: Mapping[str, Any]) -> None:
    """Refuse what cannot be set where each transaction may go to another session of the server."""
    for name in ("lock_timeout", "statement_timeout"):
        if name in own and not own.get("prepared_statements", True):
            raise ConfigError(
                f"{name} is a setting of the session, which prepared_statements=false is there to do without: "
                f"let the server's administrator set it, by ALTER ROLE … SET {name}"
            )


def _listen_conninfo(url: str) -> dict[str, str]:
    location, _, query = _without_scheme(url).partition("?")
    return _conninfo(url, location, read_options("postgres (listen_url)", query, {}, _LIBPQ_OPTIONS))


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("text or a whole number")  # noqa: TRY004 - what options of the toolkit raise
    return str(value)


def _schema(value: Any) -> str:
    # The name stands inside texts of ours, and there these would have to be written in another way each time.
    if not isinstance(value, str) or not value or len(value.encode()) > 63 or not set(value).isdisjoint("\0':%\\"):
        raise ValueError("the name of a schema, of at most 63 bytes, without ' : % and \\")
    return value


_OWN_OPTIONS = {
    "listen": Option(boolean),
    "listen_url": Option(_text),
    "poll_interval": Option(seconds(least=0.01, most=60)),
    "schema": Option(_schema),
    "prepared_statements": Option(boolean),
    "auto_migrate": Option(boolean),
    "statement_timeout": Option(seconds(most=86_400)),
    "lock_timeout": Option(seconds(most=86_400)),
    **POOL_OPTIONS,
    **QUERY_LOG_OPTIONS,
}
_LIBPQ_OPTIONS = {
    option.keyword.decode(): Option(_text)
    for option in pq.Conninfo.get_defaults()
    if option.keyword.decode() not in _FIXED
}
