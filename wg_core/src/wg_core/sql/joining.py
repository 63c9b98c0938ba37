"""Joining the caller's transaction: what `enqueue(connection=…)` takes, and what holds inside it.

Nothing here commits, rolls back or repeats: the transaction is the caller's. No DDL runs in it either, because MySQL
would commit what came before. What the driver raises reaches the caller as it is, unless we know better what it says:
after a deadlock or a lost connection it is the caller's own code (or SQLAlchemy) that must know the error.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import PoolProxiedConnection

from wg_core.errors import BackendRejectedError, ConfigError, SchemaError
from wg_core.protocol import Migration
from wg_core.sql.flavor import Flavor
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Cursor, Transaction

_MAKER = "sqlalchemy.orm.session.sessionmaker"
_SESSIONS = {"sqlalchemy.orm.session.Session", "sqlalchemy.orm.scoping.scoped_session"}


def driver_connection(flavor: Flavor, connection: Any) -> Any:
    """Return the driver's connection behind what the caller passed.

    A SQLAlchemy Session or Connection without a transaction begins one, as it does for every statement: otherwise its
    `commit` would find nothing to commit. Raises ConfigError for everything that the flavor cannot join, with what to
    pass instead.
    """
    found = connection
    if not _is_async(found):
        if _names(found) & _SESSIONS:
            found = found.connection()
        if isinstance(found, Connection):
            if not found.in_transaction():
                found.begin()
            found = found.connection
        if isinstance(found, PoolProxiedConnection):
            found = found.dbapi_connection
        found = getattr(found, "__wrapped__", found)  # what observes drivers wraps their connections
        if _is_of(flavor.drivers, found):
            return found
    raise ConfigError(
        f"connection must be a SQLAlchemy Connection or Session, or a connection of {' or '.join(flavor.drivers)}, to "
        f"the database that holds the jobs ({flavor.place}); got {_described(found)}{_instead(connection)}"
    )


def _is_of(drivers: tuple[str, ...], value: object) -> bool:
    """Whether it is a connection of one of these modules, none of which is imported to find out."""
    return hasattr(value, "commit") and not {name.partition(".")[0] for name in _names(value)}.isdisjoint(drivers)


def _is_async(value: object) -> bool:
    methods = ("commit", "rollback", "execute", "dispose")
    return any(inspect.iscoroutinefunction(getattr(type(value), method, None)) for method in methods)


def _names(value: object) -> set[str]:
    return {f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__}


def _described(value: object) -> str:
    cls = type(value)
    if cls.__module__ == "builtins":
        return f"a {cls.__qualname__}"
    return f"a {cls.__module__}.{cls.__qualname__}"


def _instead(value: object) -> str:
    """Return what to pass in place of something that is often taken for a connection."""
    hints = (
        (_is_async(value), ", which is asynchronous: pass a synchronous connection, from a thread of its own"),
        (isinstance(value, Engine), ": pass a connection of it, as in `with engine.begin() as connection`"),
        (
            any(name.startswith("django.") for name in _names(value)),
            ": pass its `connection.connection`, inside `transaction.atomic()`",
        ),
        (isinstance(value, type) or _MAKER in _names(value), ": pass an open session, not what makes sessions"),
        (hasattr(value, "fetchall"), ": pass the connection of this cursor"),
        ("pool" in type(value).__name__.lower(), ": pass a connection that it lends"),
    )
    return next((hint for applies, hint in hints if applies), "")


@contextmanager
def joined(flavor: Flavor, connection: Any) -> Iterator[Cursor]:
    """Lend a cursor of ours in the caller's transaction; only errors that wg can explain better are replaced."""
    try:
        with flavor.join(connection) as cursor:
            yield cursor
    except Exception as error:
        sorted_error = flavor.sort_joined_error(error)
        if isinstance(sorted_error, BackendRejectedError | SchemaError):
            raise sorted_error from error
        raise


def check_same_store(tx: Transaction, store_id: str, connection: Any) -> None:
    """Raise ConfigError unless the caller's connection leads to the store that this backend works on."""
    try:
        found = tx.column(tx.statements.store_id)
    except Exception as error:
        if isinstance(tx.flavor.sort_joined_error(error), SchemaError):
            meta = tx.statements.tables.meta.fullname
            raise _other_store(tx.flavor, connection, f"where there is no table {meta!r}") from error
        raise
    if found != [store_id]:
        raise _other_store(tx.flavor, connection, "which holds other jobs")


def _other_store(flavor: Flavor, connection: Any, finding: str) -> ConfigError:
    return ConfigError(
        f"the connection must lead to the database that holds the jobs: expected {flavor.place}, got "
        f"{flavor.place_of(connection)}, {finding}; pass a connection to the former, or enqueue after your commit, "
        f"without a connection"
    )


def schema_due(tables: Tables, due: Migration) -> SchemaError:
    """Return what to say where the tables are missing or old: they are not made while a transaction is open."""
    found = "are missing" if due.from_version is None else f"have version {due.from_version}"
    return SchemaError(
        f"the tables of namespace {tables.namespace!r} {found} (this wg needs version {due.to_version}), and they "
        f"cannot be made within your transaction: run `wg migrate --url …`, start a worker, or call "
        f"client.backend.migrate() when your program starts",
        version=due.from_version,
    )
