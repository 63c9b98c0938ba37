"""What PostgreSQL's errors mean: the one place that sorts them, by the class of their SQLSTATE."""

from __future__ import annotations

import re

import psycopg
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
)
from wg_core.sql import ConflictError, no_free_connection

_CONFLICTS = {"40001", "40P01", "55P03"}
"""Serialization failure, deadlock, lock not available in time."""
_NOT_PREPARED = {"26000", "42P05"}
_MISSING = {"42P01", "42703", "3F000"}
"""No such table, column, schema."""
_LATER = {"25006", "57014", "0A000"}
"""A standby (after a failover), a statement that took too long, a plan from before a migration."""
_LATER_CLASSES = {"53", "55", "57", "58"}
"""Out of resources, object in use, operator intervention, system error."""
_FAREWELLS = {"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"}
_STALE = {"25006", "0A000"}
"""Errors after which the connection is of no use although it is open: it leads to a standby, or has outdated plans."""

_REFUSED_FOR_GOOD = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist"
    r"|database .* does not exist|not permitted to log in|permission denied for database|no such (?:user|database)"
    r"|root certificate file|certificate verify failed|does not match host name|server does not support SSL"
    r"|invalid \w+ value",
    re.IGNORECASE,
)
_NO_DATABASE = re.compile(r"database .* does not exist", re.IGNORECASE)
_DATABASE_HINT = "; create it (CREATE DATABASE), or name another one in the URL: 'postgres://user@host/database'"
_REFUSED_BY_BOUNCER = re.compile(r"unsupported startup parameter|prepared statement", re.IGNORECASE)
"""What PgBouncer will refuse again. Under that SQLSTATE, 08P01, it also says that it lost the server or finds none."""
_BOUNCER_HINT = "behind PgBouncer in transaction mode add prepared_statements=false to the URL"


def is_end_of_connection(error: BaseException) -> bool:
    """Return whether the connection should not be used again."""
    if not isinstance(error, psycopg.Error):
        return False
    return _is_lost(error) or error.sqlstate in _STALE or error.sqlstate in _NOT_PREPARED


def _is_lost(error: psycopg.Error) -> bool:
    """Whether the server said farewell, or nothing more."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate in _FAREWELLS or error.sqlstate[:2] == "08"


def sort_error(error: Exception, address: str, *, committing: bool) -> BackendError | None:
    """Return what the error means; None when it did not come from the driver."""
    if isinstance(error, PoolTimeoutError):
        return no_free_connection(address, error)
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return BackendRejectedError(f"PostgreSQL cannot store this value: {error}")
    if not isinstance(error, psycopg.Error):
        return None
    text = str(error).strip()
    if _is_lost(error):
        return _lost(text, address, committing=committing)
    return _by_state(error.sqlstate or "", text, address)


def _lost(text: str, address: str, *, committing: bool) -> BackendError:
    if _REFUSED_BY_BOUNCER.search(text):
        return BackendRejectedError(f"{address} refused the connection: {text}; {_BOUNCER_HINT}")
    if committing:
        return AmbiguousResultError(f"{address} did not answer at the end, so it may or may not be stored: {text}")
    if text.startswith("connection is bad:") and _REFUSED_FOR_GOOD.search(text):
        return BackendRejectedError(f"{address}: {text}")
    if "connection failed" in text and _REFUSED_FOR_GOOD.search(text) and "refused\n" not in text:
        hint = _DATABASE_HINT if _NO_DATABASE.search(text) else ""
        return BackendRejectedError(f"{address} refused the connection: {text}{hint}")
    return BackendUnavailableError(f"{address} cannot be reached: {text}; nothing was stored")


def _by_state(state: str, text: str, address: str) -> BackendError:
    if state in _CONFLICTS:
        return ConflictError(f"{address}: others came in between: {text}")
    if state in _MISSING:
        return SchemaError(f"the tables in {address} are missing or incomplete: {text}; run: wg migrate")
    if state in _NOT_PREPARED:
        return BackendRejectedError(f"{address}: {text}; {_BOUNCER_HINT}")
    if state in _LATER or state[:2] in _LATER_CLASSES:
        return BackendUnavailableError(f"{address}: {text}; nothing was stored")
    return BackendRejectedError(f"{address}: {_refusal(state, text)}: {text}")


def _refusal(state: str, text: str) -> str:
    if "0x00" in text:
        return "PostgreSQL cannot store the character NUL in a text"
    return "no right to do this" if state == "42501" else "PostgreSQL refused"
