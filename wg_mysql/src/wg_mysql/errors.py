"""What the errors of MySQL, MariaDB and PyMySQL mean: the one place that sorts them."""

from __future__ import annotations

import pymysql
from pymysql.constants import CR, ER
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
)
from wg_core.sql import ConflictError, no_free_connection
from wg_mysql.options import MySQLOptions

_CONFLICTS = {
    ER.LOCK_WAIT_TIMEOUT,
    ER.LOCK_DEADLOCK,
    ER.CHECKREAD,  # MariaDB's innodb_snapshot_isolation
    ER.DUP_ENTRY,  # somebody else was faster; the next attempt sees what they wrote
    ER.TABLE_DEF_CHANGED,  # somebody was just making the tables
    3572,  # MySQL: a lock not available at once
}
_NO_CONNECTION = {
    CR.CR_CONN_HOST_ERROR,
    CR.CR_CONNECTION_ERROR,
    CR.CR_UNKNOWN_HOST,
    ER.CON_COUNT_ERROR,
    ER.HOST_IS_BLOCKED,
    ER.TOO_MANY_USER_CONNECTIONS,
    ER.USER_LIMIT_REACHED,
}
"""Before there was a connection: surely nothing happened."""
_LOST = {
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    CR.CR_SERVER_LOST_EXTENDED,
    ER.SERVER_SHUTDOWN,
    ER.NORMAL_SHUTDOWN,
    ER.NEW_ABORTING_CONNECTION,
    ER.NET_READ_ERROR,
    ER.NET_READ_INTERRUPTED,
    ER.NET_ERROR_ON_WRITE,
    ER.NET_WRITE_INTERRUPTED,
    1927,  # MariaDB: the connection was killed
    4031,  # MySQL: idle for longer than wait_timeout
}
_READ_ONLY = {
    ER.OPTION_PREVENTS_STATEMENT,  # --read-only, --super-read-only
    1836,  # read-only mode
    1792,  # a read-only transaction
    1047,  # Galera: this node is not part of the cluster yet
}
"""After a failover: the connection leads to a server that does not write."""
_LATER = {
    ER.DISK_FULL,
    ER.OUTOFMEMORY,
    ER.OUT_OF_SORTMEMORY,
    ER.OUT_OF_RESOURCES,
    ER.RECORD_FILE_FULL,
    ER.LOCK_TABLE_FULL,
    ER.QUERY_INTERRUPTED,
    1637,  # too many active transactions
    1969,  # MariaDB: max_statement_time
    3024,  # MySQL: max_execution_time
}
NO_TABLE = {ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.BAD_TABLE_ERROR}
NO_RIGHT = {
    ER.DBACCESS_DENIED_ERROR,
    ER.ACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    1698,
}
_BAD_VALUE = (OverflowError, UnicodeError)


def code_of(error: BaseException | None) -> int | None:
    """Return the number of a driver's error, None when it has none."""
    if isinstance(error, pymysql.MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return None


def breaks_connection(error: BaseException) -> bool:
    """Return whether the connection that raised the error should not be used again."""
    if isinstance(error, pymysql.InterfaceError):
        return True
    code = code_of(error)
    return code in _LOST or code in _READ_ONLY or (isinstance(error, pymysql.InternalError) and code is None)


def sort_error(error: Exception, options: MySQLOptions, *, committing: bool) -> BackendError | None:
    """Return what the error means; None when it did not come from the driver."""
    if isinstance(error, PoolTimeoutError):
        return no_free_connection(options.place, error)
    if isinstance(error, _BAD_VALUE):
        return BackendRejectedError(f"MySQL cannot store this value: {error}")
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        return BackendRejectedError(
            f"{options.place}: the user's authentication needs a package of its own: pip install 'PyMySQL[rsa]'"
        )
    if not isinstance(error, pymysql.MySQLError):
        return None
    return _by_code(code_of(error), error, options, committing=committing)


def _by_code(code: int | None, error: pymysql.MySQLError, options: MySQLOptions, *, committing: bool) -> BackendError:
    text = f"{options.place}: {error.args[-1] if error.args else error}"
    if code in _CONFLICTS:
        return ConflictError(f"{text} ({code}); nothing was stored")
    if code == 0 or code in _NO_CONNECTION:  # 0: the driver had closed the connection before
        return BackendUnavailableError(f"no connection to {text}")
    if code in _LOST or code is None:
        if committing:
            return AmbiguousResultError(f"{text}: the connection broke, so it may or may not be stored")
        return BackendUnavailableError(f"{text}; nothing was stored")
    if code in _READ_ONLY or code in _LATER:
        return BackendUnavailableError(f"{text} ({code}); nothing was stored")
    return _refusal(code, text, options)


def _refusal(code: int, text: str, options: MySQLOptions) -> BackendError:
    if code == ER.BAD_DB_ERROR:
        name = options.database.replace("`", "``")
        return BackendRejectedError(f"{text}: create it by: CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    if code in NO_TABLE:
        return SchemaError(f"the tables are missing or incomplete: {text}; run: wg migrate")
    if code in NO_RIGHT:
        return BackendRejectedError(f"{text} ({code}): check user, password and rights")
    return BackendRejectedError(f"{text} ({code})")
