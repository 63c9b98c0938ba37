"""What is changed of the driver, which servers are known, and what errors mean, without a server."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
)
from wg_core.sql import ConflictError
from wg_mysql.driver import spread_lists
from wg_mysql.errors import breaks_connection, sort_error
from wg_mysql.health import warnings_of
from wg_mysql.options import parse_url
from wg_mysql.server import Server

OPTIONS = parse_url("mysql://ann:s3cret@h/app", {})


def sorted_error(error: Exception, *, committing: bool = False) -> BackendError | None:
    return sort_error(error, OPTIONS, committing=committing)


@pytest.mark.parametrize(
    ("text", "arguments", "spread"),
    [
        ("a = %s", ["x"], ("a = %s", ["x"])),
        ("a = %s AND b IN %s", [1, ["x", "y"]], ("a = %s AND b IN (%s, %s)", [1, "x", "y"])),
        ("b IN %s AND a = %s", [["x"], 1], ("b IN (%s) AND a = %s", ["x", 1])),
        ("b IN %s", [[]], ("b IN (%s)", [None])),
        ("b IN %s OR c IN %s", [[1], [2, 3]], ("b IN (%s) OR c IN (%s, %s)", [1, 2, 3])),
        ("DELETE FROM t WHERE b IN %s", [[1, 2]], ("DELETE FROM t WHERE b IN (%s, %s) LIMIT 2", [1, 2])),
        (
            "DELETE FROM t WHERE b IN %s AND a = %s RETURNING t.b",
            [[1, 2], 3],
            ("DELETE FROM t WHERE b IN (%s, %s) AND a = %s LIMIT 2 RETURNING t.b", [1, 2, 3]),
        ),
    ],
)
def test_a_list_becomes_as_many_parameters_as_it_is_long(
    text: str, arguments: list[Any], spread: tuple[str, list[Any]]
) -> None:
    assert spread_lists(text, arguments) == spread


@pytest.mark.parametrize(
    ("text", "name", "collation"),
    [
        ("10.11.6-MariaDB-0+deb12u1", "MariaDB 10.11.6", "utf8mb4_nopad_bin"),
        ("5.5.5-10.6.1-MariaDB", "MariaDB 10.6.1", "utf8mb4_nopad_bin"),
        ("8.0.36", "MySQL 8.0.36", "utf8mb4_0900_bin"),
        ("8.0.16-commercial", "MySQL 8.0.16", "utf8mb4_bin"),
        ("9.1.0-cloud", "MySQL 9.1.0", "utf8mb4_0900_bin"),
    ],
)
def test_the_version_tells_the_product_and_the_collation_of_keys(text: str, name: str, collation: str) -> None:
    server = Server.of(text)
    assert (server.name, server.collation) == (name, collation)


@pytest.mark.parametrize("text", ["5.7.44-log", "10.5.9-MariaDB", "5.5.5-10.3.39-MariaDB", "8.0.0"])
def test_a_server_without_skip_locked_is_refused(text: str) -> None:
    with pytest.raises(BackendRejectedError, match=r"is too old: wg needs (MySQL 8\.0\.1|MariaDB 10\.6) or newer"):
        Server.of(text)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1205, ConflictError),
        (1213, ConflictError),
        (1020, ConflictError),
        (1062, ConflictError),
        (1412, ConflictError),
        (2003, BackendUnavailableError),
        (1040, BackendUnavailableError),
        (2013, BackendUnavailableError),
        (1053, BackendUnavailableError),
        (1927, BackendUnavailableError),
        (1290, BackendUnavailableError),
        (1317, BackendUnavailableError),
        (1021, BackendUnavailableError),
        (1049, BackendRejectedError),
        (1146, SchemaError),
        (1045, BackendRejectedError),
        (1142, BackendRejectedError),
        (1406, BackendRejectedError),
        (1366, BackendRejectedError),
    ],
)
def test_the_number_of_an_error_tells_what_it_means(code: int, expected: type[BackendError]) -> None:
    assert type(sorted_error(pymysql.err.OperationalError(code, "as it says"))) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (2013, AmbiguousResultError),
        (2006, AmbiguousResultError),
        (1927, AmbiguousResultError),
        (1213, ConflictError),
        (2003, BackendUnavailableError),
        (1040, BackendUnavailableError),
        (0, BackendUnavailableError),
    ],
)
def test_a_connection_that_breaks_during_commit_leaves_it_open_what_happened(
    code: int, expected: type[BackendError]
) -> None:
    assert type(sorted_error(pymysql.err.OperationalError(code, "as it says"), committing=True)) is expected


def test_what_the_driver_did_not_raise_goes_on_as_it_is() -> None:
    assert sorted_error(KeyError("x")) is None
    assert isinstance(sorted_error(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x")), BackendRejectedError)


def test_a_login_that_needs_another_package_says_which() -> None:
    error = RuntimeError("'cryptography' package is required for sha256_password or caching_sha2_password auth methods")
    assert "pip install 'PyMySQL[rsa]'" in str(sorted_error(error))


@pytest.mark.parametrize(
    ("error", "breaks"),
    [
        (pymysql.err.OperationalError(2013, ""), True),
        (pymysql.err.InterfaceError(0, ""), True),
        (pymysql.err.InternalError("Packet sequence number wrong"), True),
        (pymysql.err.OperationalError(1290, "read-only"), True),
        (pymysql.err.OperationalError(1213, "deadlock"), False),
        (pymysql.err.DataError(1406, "too long"), False),
        (ValueError("x"), False),
    ],
)
def test_some_errors_are_the_end_of_a_connection(error: Exception, breaks: bool) -> None:
    assert breaks_connection(error) is breaks


@pytest.mark.parametrize(
    ("version", "settings", "warning"),
    [
        ("10.11.6-MariaDB", {"log_bin": "ON", "binlog_format": "STATEMENT"}, "binlog_format=STATEMENT"),
        ("10.11.6-MariaDB", {"innodb_flush_log_at_trx_commit": "2"}, "innodb_flush_log_at_trx_commit=2"),
        ("10.11.6-MariaDB", {"read_only": "ON"}, "connect to the primary"),
        ("8.0.11", {}, "does not tell names apart that differ in trailing spaces"),
    ],
)
def test_settings_that_put_jobs_at_risk_are_warned_of(version: str, settings: dict[str, str], warning: str) -> None:
    (found,) = warnings_of(Server.of(version), settings)
    assert warning in found


@pytest.mark.parametrize(
    "settings",
    [
        {"log_bin": "OFF", "binlog_format": "STATEMENT", "innodb_flush_log_at_trx_commit": "1", "read_only": "OFF"},
        {"log_bin": "ON", "binlog_format": "MIXED", "innodb_flush_log_at_trx_commit": "1", "read_only": "0"},
        {},
    ],
)
def test_settings_that_are_sound_are_not_warned_of(settings: dict[str, str]) -> None:
    assert not list(warnings_of(Server.of("8.4.0"), settings))
