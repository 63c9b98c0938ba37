"""Enqueueing in a transaction of somebody else's connection of psycopg or psycopg2."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from wg_core.errors import BackendError, BackendRejectedError, ConfigError, SchemaError
from wg_core.sql import Cursor

DRIVERS = ("psycopg", "psycopg2")

_MISSING = {"42P01", "42703", "3F000"}
_NO_RIGHT = "42501"
_BAD_VALUES = {"22", "23"}


@contextmanager
def join(connection: Any) -> Iterator[Cursor]:
    """Lend a plain cursor of the driver, whatever cursor and row factories the connection has."""
    cursor: Any
    if isinstance(connection, psycopg.Connection):
        _check_transaction(connection.autocommit, connection.info.transaction_status)
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    else:
        _check_transaction(connection.autocommit, connection.get_transaction_status())
        cursor = importlib.import_module("psycopg2.extensions").cursor(connection)  # the caller has imported it
    try:
        yield cursor
    finally:
        cursor.close()


def _check_transaction(autocommits: bool, status: int) -> None:  # noqa: FBT001 - private, and it reads in order
    """Raise ConfigError where each statement would commit by itself; both drivers pass libpq's status on."""
    if autocommits and status == TransactionStatus.IDLE:
        raise ConfigError(
            "the connection is in autocommit mode and no transaction is open, so the job would be stored at once: set "
            "connection.autocommit = False or open a transaction first (psycopg: `with connection.transaction():`), "
            "or enqueue without a connection"
        )


def place_of(connection: Any) -> str:
    """Return where the connection leads to; asks libpq, because a failed transaction answers nothing more."""
    info = connection.info
    return f"the database {info.dbname!r} on {info.host or 'a local socket'}, port {info.port}"


def sort_error(error: Exception, address: str) -> BackendError | None:
    """Return what wg can say better than the driver: the tables, the rights, the values. None for all else."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    if state in _MISSING:
        return SchemaError(f"the tables in {address} are missing or incomplete: {error}; run: wg migrate")
    if state == _NO_RIGHT:
        return BackendRejectedError(f"{address}: no right to do this: {error}")
    if state[:2] in _BAD_VALUES or isinstance(error, UnicodeEncodeError | OverflowError) or "NUL" in str(error):
        return BackendRejectedError(f"PostgreSQL cannot store this value: {error}")
    return None
