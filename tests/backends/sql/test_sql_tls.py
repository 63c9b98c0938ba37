"""TLS as the URL asks for it, on servers with a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.backends.sql.stores import run_one, wait_until
from wg_core.backend import Backend
from wg_core.errors import WgError
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend
from wg_core.testing.servers import HOST, MariaDBServer, PostgresServer, ServerCertificate


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> ServerCertificate:
    issued = authority.issue_cert(HOST)
    return ServerCertificate(issued.cert_chain_pems[0].bytes().decode(), issued.private_key_pem.bytes().decode())


@pytest.fixture(scope="module")
def postgres(certificate: ServerCertificate) -> Iterator[PostgresServer]:
    with PostgresServer(certificate=certificate) as server:
        yield server


@pytest.fixture(scope="module")
def mariadb(certificate: ServerCertificate) -> Iterator[MariaDBServer]:
    """A server that lets nobody in without TLS."""
    with MariaDBServer(certificate=certificate) as server:
        server.execute(f"CREATE USER 'app'@'{HOST}' REQUIRE SSL")
        server.execute(f"GRANT ALL ON wg.* TO 'app'@'{HOST}'")
        yield server


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """The certificate of the authority that signed the server's."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def untrusted(tmp_path: Path) -> Path:
    """The certificate of somebody else."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    return tmp_path / "other.pem"


def encrypted(server: PostgresServer, backend: Backend, application_name: str) -> list[bool]:
    """Tell of each connection of a backend that works and listens, whether it is encrypted.

    The backend has a name of its own, because the connections of another one may not be quite gone.
    """
    run_one(backend)
    backend.beat([WorkerBeat(worker="w2", lease_seconds=600.0, first=True)])
    backend.wait(None, 0.0)
    ours = f"FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = '{application_name}'"
    # The thread that listens connects in its own time.
    wait_until(lambda: server.execute(f"SELECT count(*) {ours}")[0][0] >= 2)
    return [is_encrypted for (is_encrypted,) in server.execute(f"SELECT ssl {ours}")]


def test_on_postgres_working_and_listening_are_encrypted_and_checked(
    postgres: PostgresServer, trusted: Path, fresh_namespace: str
) -> None:
    name = fresh_namespace
    with open_backend(postgres.url, sslmode="verify-full", sslrootcert=str(trusted), application_name=name) as backend:
        assert all(encrypted(postgres, backend, name))


def test_on_postgres_tls_can_be_left_out(postgres: PostgresServer, fresh_namespace: str) -> None:
    with open_backend(postgres.url, sslmode="disable", application_name=fresh_namespace) as backend:
        assert not any(encrypted(postgres, backend, fresh_namespace))


def test_postgres_with_a_certificate_of_somebody_else_is_refused(postgres: PostgresServer, untrusted: Path) -> None:
    backend = open_backend(postgres.url, sslmode="verify-full", sslrootcert=str(untrusted))
    with backend, pytest.raises(WgError, match="certificate verify failed"):
        backend.held("w")


def test_mariadb_is_spoken_to_in_tls_if_it_offers_it(mariadb: MariaDBServer) -> None:
    with open_backend(mariadb.url.replace("root@", "app@")) as backend:
        run_one(backend)


def test_the_certificate_and_the_name_of_mariadb_are_checked(mariadb: MariaDBServer, trusted: Path) -> None:
    url = mariadb.url.replace("root@", "app@")
    with open_backend(url, ssl_ca=str(trusted), ssl_verify_identity=True) as backend:
        run_one(backend)


def test_the_name_of_mariadb_is_checked_also_where_the_system_knows_the_authority(
    mariadb: MariaDBServer, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    url = mariadb.url.replace("root@", "app@")
    with open_backend(url, ssl_verify_identity=True) as backend:
        run_one(backend)
    backend = open_backend(url.replace(HOST, "localhost"), ssl_verify_identity=True)
    with backend, pytest.raises(WgError, match="certificate verify failed"):
        backend.held("w")


def test_on_mariadb_tls_can_be_left_out(mariadb: MariaDBServer) -> None:
    backend = open_backend(mariadb.url.replace("root@", "app@"), ssl_disabled=True)
    with backend, pytest.raises(WgError, match="Access denied"):
        backend.held("w")


def test_mariadb_with_a_certificate_of_somebody_else_is_refused(mariadb: MariaDBServer, untrusted: Path) -> None:
    backend = open_backend(mariadb.url, ssl_ca=str(untrusted))
    with backend, pytest.raises(WgError, match="certificate verify failed"):
        backend.held("w")
