"""What SQLite's errors mean: the one place that sorts them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
)
from wg_core.sql import no_free_connection

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_LATER = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_SCHEMA,
}
_BROKEN = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_READONLY,
}
_REFUSALS = {
    sqlite3.SQLITE_READONLY: "it cannot be written (read_only, or no right to)",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
}
_BAD_VALUE = (OverflowError, UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.DataError)


def primary_code(error: BaseException | None) -> int | None:
    """Return SQLite's primary result code, None when the error has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def breaks_connection(error: BaseException) -> bool:
    """Return whether the connection should not be used again."""
    return primary_code(error) in _BROKEN


def sort_error(error: Exception, path: str, *, committing: bool) -> BackendError | None:
    """Return what the error means; None when it did not come from the driver."""
    if isinstance(error, PoolTimeoutError):
        return no_free_connection(path, error)
    if isinstance(error, _BAD_VALUE):
        return BackendRejectedError(f"SQLite cannot store this value: {error}")
    if not isinstance(error, sqlite3.Error):
        return None
    code = primary_code(error)
    if code is None:
        return _without_code(error)
    if code in _BUSY:
        return BackendUnavailableError(
            f"{path} is locked: another process kept writing for longer than busy_timeout ({error})"
        )
    return _by_code(code, error, path, committing=committing)


def _without_code(error: sqlite3.Error) -> BackendError | None:
    """Sort what Python's module itself refuses."""
    if "same thread" in str(error):  # a connection of the caller's, used in another thread
        return None
    if "closed database" in str(error):
        return BackendUnavailableError("this backend was closed; open another one")
    return BackendRejectedError(f"SQLite cannot store this value: {error}")


def _by_code(code: int, error: sqlite3.Error, path: str, *, committing: bool) -> BackendError:
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(error, path)
    if code == sqlite3.SQLITE_IOERR and committing:  # before COMMIT it would have been rolled back
        return AmbiguousResultError(f"writing {path} failed at the end, so it may or may not be stored: {error}")
    if code in _LATER:
        return BackendUnavailableError(f"{path}: {error}; nothing was stored")
    if code == sqlite3.SQLITE_ERROR and "no such" in str(error):
        return SchemaError(f"the tables in {path} are missing or incomplete: {error}; run: wg migrate")
    return BackendRejectedError(f"{path}: {_REFUSALS.get(code, 'SQLite refused')}: {error}")


def _cannot_open(error: sqlite3.Error, path: str) -> BackendError:
    """Say why a file could not be opened. Looks at names only: opening it ourselves would drop SQLite's locks."""
    directory = Path(path).parent
    if not directory.is_dir():
        return BackendRejectedError(f"cannot open {path}: there is no directory {directory}")
    if Path(path).is_dir():
        return BackendRejectedError(f"cannot open {path}: it is a directory")
    if not Path(path).exists():
        if os.access(directory, os.W_OK | os.X_OK):
            return BackendUnavailableError(f"cannot open {path}: it does not exist ({error})")
        return BackendRejectedError(f"cannot open {path}: no right to create files in {directory}")
    if not os.access(path, os.R_OK):
        return BackendRejectedError(f"cannot open {path}: no right to read it")
    return BackendUnavailableError(f"cannot open {path}: {error}")
