"""URL forms and options, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from tests.backends.redis.support import OpenRedis, new_job
from wg_core.errors import ConfigError
from wg_core.registry import open_backend
from wg_core.testing.servers import RedisServer
from wg_redis import RedisBackend
from wg_redis._options import Options, parse_options


def parsed(url: str, **keywords: object) -> Options:
    return parse_options(url, keywords)


def test_a_bare_url_means_the_local_server() -> None:
    options = parsed("redis://")
    assert (options.host, options.port, options.db, options.tls) == ("localhost", 6379, 0, False)


def test_a_full_url_is_taken_apart() -> None:
    options = parsed("redis://app:pw@db.example:7000/3")
    assert (options.username, options.password) == ("app", "pw")
    assert (options.host, options.port, options.db) == ("db.example", 7000, 3)


def test_an_ipv6_host_stands_in_brackets() -> None:
    assert parsed("redis://[::1]:7000").host == "::1"


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_schemes_verify_the_certificate_unless_told_otherwise(scheme: str) -> None:
    options = parsed(f"{scheme}://db.example")
    assert (options.tls, options.ssl_verify) == (True, "required")
    assert parsed(f"{scheme}://db.example?ssl_verify=none").ssl_verify == "none"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "redis+unix"])
def test_every_scheme_is_found_by_its_entry_point(scheme: str) -> None:
    location = "/run/redis.sock" if scheme == "redis+unix" else "db.example"
    with open_backend(f"{scheme}://{location}", namespace="shop") as backend:
        assert isinstance(backend, RedisBackend)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("redis+unix:///run/redis.sock?db=2", "/run/redis.sock"),
        ("redis+unix://app:pw@/run/my%20redis.sock?db=2", "/run/my redis.sock"),
        ("redis://localhost/2?unix_socket=/run/redis.sock", "/run/redis.sock"),
    ],
)
def test_a_socket_is_named_by_the_path_or_by_an_option(url: str, path: str) -> None:
    options = parsed(url)
    assert (options.unix_socket, options.db) == (path, 2)


def test_a_socket_that_is_there_is_used(open_redis: OpenRedis, redis_server: RedisServer) -> None:
    by_path = open_redis(f"redis+unix://{redis_server.unix_socket}")
    by_option = open_redis("redis://nowhere.invalid", unix_socket=str(redis_server.unix_socket))
    assert by_path.enqueue([new_job()])[0].stored
    assert not by_option.enqueue([new_job()])[0].stored


def test_options_stand_in_the_query_or_in_keywords_and_keywords_win() -> None:
    url = "redis://h?max_connections=7&socket_timeout=1.5&connect_timeout=2&protocol=3&client_name=web"
    options = parsed(url, socket_timeout=9)
    assert (options.max_connections, options.socket_timeout, options.connect_timeout) == (7, 9.0, 2.0)
    assert (options.protocol, options.client_name) == (3, "web")


def test_databases_are_apart(open_redis: OpenRedis, redis_server: RedisServer) -> None:
    first, second = (open_redis(f"{redis_server.url.removesuffix('/0')}/{db}") for db in (0, 1))
    assert first.enqueue([new_job()])[0].stored
    assert second.get(["a"]) == []


def test_the_client_name_is_shown_by_the_server(open_redis: OpenRedis, redis_server: RedisServer) -> None:
    open_redis(redis_server.url, client_name="web-7").health()
    assert "name=web-7" in redis_server.command("CLIENT", "LIST")


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_work(open_redis: OpenRedis, redis_server: RedisServer, protocol: int) -> None:
    backend = open_redis(redis_server.url, protocol=protocol)
    backend.enqueue([new_job()])
    assert backend.stats().ready == 1
    assert "Redis" in backend.health().server or "Valkey" in backend.health().server
    backend.wait(None, 60.0)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://h?max_conections=5", "unknown option 'max_conections'.* did you mean 'max_connections'"),
        ("redis://h?zzz=5", "unknown option 'zzz'"),
        ("redis://h?max_connections=many", "max_connections must be a whole number from 1 to 100000, got 'many'"),
        ("redis://h?max_connections=0", "max_connections must be a whole number"),
        ("redis://h?socket_timeout=0", "socket_timeout must be more than zero seconds, got '0'"),
        ("redis://h?socket_timeout=nan", "socket_timeout must be more than zero seconds"),
        ("redis://h?connect_timeout=", "connect_timeout must be more than zero seconds"),
        ("redis://h?protocol=4", "protocol must be a whole number from 2 to 3, got '4'"),
        ("redis://h?client_name=my%20app", "client_name must hold visible ASCII"),
        ("redis://h?db=1&db=2", "option 'db' is given twice"),
        ("redis://h/first", "db must be a whole number"),
        ("redis://h/-1", "db must be a whole number"),
        ("redis://h:port", "a Redis URL looks like"),
        ("redis://h:99999", "a Redis URL looks like"),
        ("redis://[::1", "a Redis URL looks like"),
        ("redis:h", "a Redis URL looks like"),
        ("redis+unix://host/path", "a socket URL looks like"),
        ("redis+unix://", "a socket URL looks like"),
        ("rediss://h?ssl_verify=maybe", "ssl_verify must be 'required' or 'none', got 'maybe'"),
        ("rediss://h?ssl_key=k.pem", "ssl_key needs ssl_cert"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        RedisBackend.open(url, "shop")


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:hunter2#@host",
        "redis://app:hunter2/x@host:port",
        "redis://app:hunter2@host:port",
        "redis://app:hunter2@host/0?nonsense=1",
        "redis://app:hunter2@[host",
        "redis://host?password=hunter2&db=x",
        "redis+unix://app:hunter2@host/path",
    ],
)
def test_no_complaint_shows_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as complaint:
        RedisBackend.open(url, "shop")
    error: BaseException | None = complaint.value
    while error is not None:
        assert "hunter2" not in f"{error!r} {error.__dict__}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_no_representation_shows_the_password() -> None:
    backend = RedisBackend.open("redis://app:hunter2@h", "shop")
    assert "hunter2" not in repr(backend) + str(backend) + repr(parsed("redis://app:hunter2@h"))
    assert repr(backend) == "<RedisBackend {shop} at h:6379/0>"
