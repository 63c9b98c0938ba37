"""URLs and options of the MySQL backend, without a server."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from wg_core.errors import ConfigError
from wg_core.registry import open_backend
from wg_mysql import MySQLBackend
from wg_mysql.options import MySQLOptions, parse_url


def options(url: str, **keywords: Any) -> MySQLOptions:
    return parse_url(url, keywords)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql", "MySQL"])
def test_every_spelling_of_the_scheme_opens_the_backend_without_touching_a_server(scheme: str) -> None:
    with open_backend(f"{scheme}://nobody@127.0.0.1:1/app") as backend:
        assert isinstance(backend, MySQLBackend)


def test_a_url_says_where_the_server_is_and_who_we_are() -> None:
    parsed = options("mysql://ann:s%3Acret%40%C3%A9@[::1]:3307/my%20app")
    assert (parsed.host, parsed.port, parsed.user, parsed.database) == ("::1", 3307, "ann", "my app")
    assert parsed.for_driver()["password"] == "s:cret@é".encode()


def test_host_port_user_and_password_may_be_left_out() -> None:
    parsed = options("mysql:///app")
    assert (parsed.host, parsed.port, parsed.user, parsed.password) == ("localhost", 3306, None, "")


def test_options_come_from_the_query_and_from_keywords_which_win() -> None:
    url = "mysql://h/app?unix_socket=/run/my.sock&lock_timeout=2&pool_size=3&ssl_verify_cert=yes"
    parsed = options(url, lock_timeout=4, read_timeout=timedelta(minutes=1))
    assert (parsed.unix_socket, parsed.lock_timeout, parsed.read_timeout) == ("/run/my.sock", 4, 60.0)
    assert (parsed.pool.pool_size, parsed.ssl_verify_cert) == (3, True)


def test_a_certificate_authority_means_that_the_server_is_checked_against_it() -> None:
    assert options("mysql://h/app?ssl_ca=ca.pem").for_driver()["ssl_verify_cert"] is True
    assert options("mysql://h/app?ssl_ca=ca.pem&ssl_verify_cert=false").for_driver()["ssl_verify_cert"] is None
    assert options("mysql://h/app").for_driver()["ssl_verify_cert"] is None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://h", "names a database after the host, as in 'mysql://user:password@localhost:3306/app'"),
        ("mysql://h/", "names a database after the host"),
        ("mysql://h/a/b", "names a database after the host"),
        ("mysql:app", "looks like 'mysql://user:password@localhost:3306/app'"),
        ("mysql://h:port/app", "looks like"),
        ("mysql://h/app#x", "looks like"),
        ("mysql+mysqldb://h/app", "write 'mysql://…' instead of 'mysql+mysqldb://…'"),
        ("mysql://h/app?lock_timout=3", "unknown option 'lock_timout' of mysql:, did you mean 'lock_timeout'?"),
        ("mysql://h/app?lock_timeout=0", "option lock_timeout of mysql: must be a whole number of at least 1, got '0'"),
        ("mysql://h/app?lock_timeout=30", "read_timeout must be longer than lock_timeout (30 s), got 30 s"),
        ("mysql://h/app?connect_timeout=0", "option connect_timeout of mysql: must be a number of seconds"),
        ("mysql://h/app?poll_interval=x", "option poll_interval of mysql: must be a number of seconds"),
        ("mysql://h/app?ssl_disabled=1&ssl_ca=ca.pem", "ssl_disabled contradicts ssl_ca: leave one of them out"),
        ("mysql://h/app?ssl_key=key.pem", "ssl_key is the key of a certificate: give ssl_cert too"),
        ("mysql://h/app?unix_socket=", "option unix_socket of mysql: must be the path of a file, got ''"),
    ],
)
def test_a_wrong_url_is_an_error_that_says_what_to_write(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        options(url)


@pytest.mark.parametrize("rest", ["h:port/app", "h/a/b", "h", "h/app#x"])
def test_no_error_shows_the_password(rest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(f"mysql://ann:s3cret@{rest}")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(options("mysql://ann:s3cret@h/app?ssl_key_password=s3cret"))
