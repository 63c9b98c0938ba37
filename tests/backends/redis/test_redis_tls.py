"""TLS: the certificate is verified unless the user says otherwise. A thread adds TLS to the shared server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.redis.support import OpenRedis, new_job
from wg_core.errors import BackendUnavailableError
from wg_core.testing.servers import HOST, RedisServer

CERTIFICATE = Path(__file__).with_name("certificate.pem")
"""Self-signed for localhost and 127.0.0.1, valid until 2126; its key protects nothing."""


class TlsDoor:
    """Takes TLS connections and passes what they say to a server without TLS."""

    def __init__(self, port: int) -> None:
        self._inner_port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                outer, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(outer,)))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            outer = self._context.wrap_socket(plain, server_side=True)
            with outer, socket.create_connection((HOST, self._inner_port)) as inner:
                while command := outer.recv(65_536):
                    inner.sendall(command)
                    outer.sendall(inner.recv(65_536))


@pytest.fixture
def tls_port(redis_server: RedisServer) -> Iterator[int]:
    door = TlsDoor(redis_server.port)
    yield door.port
    door.close()


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_certificate_that_can_be_verified_is_accepted(open_redis: OpenRedis, tls_port: int, scheme: str) -> None:
    backend = open_redis(f"{scheme}://localhost:{tls_port}?ssl_ca={CERTIFICATE}")
    assert backend.enqueue([new_job()])[0].stored
    assert not backend.enqueue([new_job()])[0].stored
    backend.wait(None, 60.0)
    backend.wait(["other"], 0.01)
    backend.close()


def test_a_certificate_that_nobody_vouches_for_is_not(open_redis: OpenRedis, tls_port: int) -> None:
    with pytest.raises(BackendUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        open_redis(f"rediss://localhost:{tls_port}").enqueue([new_job()])


def test_verification_can_be_switched_off_by_name(open_redis: OpenRedis, tls_port: int) -> None:
    backend = open_redis(f"rediss://localhost:{tls_port}?ssl_verify=none")
    assert backend.enqueue([new_job()])[0].stored
    backend.close()


def test_a_certificate_file_that_is_not_there_is_named(open_redis: OpenRedis, tls_port: int) -> None:
    backend = open_redis(f"rediss://localhost:{tls_port}?ssl_ca=/nowhere/ca.pem")
    with pytest.raises(BackendUnavailableError, match="No such file"):
        backend.enqueue([new_job()])
