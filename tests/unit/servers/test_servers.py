"""The private servers do to a real store what the fault tests ask of them."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_core.testing.servers import HOST, RedisServer, ServerError, find_binary

PATIENCE_SECONDS = 60.0
"""How long a test waits for something that must happen; never a measure of speed."""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        pause.wait(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it may go while it is read
        return False


def test_what_was_answered_survives_a_kill_and_a_restart_on_the_same_port() -> None:
    with RedisServer() as server:
        port, pid = server.port, server.pid
        server.command("SET", "job", "charge")
        server.kill()
        assert not server.running
        server.start()
        assert server.port == port
        assert server.pid != pid
        assert server.command("GET", "job") == "charge"


def test_a_server_without_append_only_file_forgets_at_a_kill() -> None:
    with RedisServer(append_only=False) as server:
        server.command("SET", "job", "charge")
        server.kill()
        server.start()
        assert server.command("GET", "job") == "-1"


def test_a_paused_server_accepts_connections_but_answers_only_after_resume() -> None:
    with RedisServer() as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        server.pause()
        connection.sendall(b"PING\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(7)
        server.resume()
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(7) == b"+PONG\r\n"


def test_a_paused_server_can_be_stopped_and_killed() -> None:
    with RedisServer() as server:
        server.pause()
        server.stop()
        assert not server.running
        server.start()
        server.pause()
        server.kill()
        assert not server.running


def test_leaving_removes_the_process_and_the_data() -> None:
    with RedisServer() as server:
        pid, folder = server.pid, server.folder
        assert server.log_path.exists()
    assert not is_alive(pid)
    assert not folder.exists()
    server.close()


def test_a_password_of_any_characters_is_asked_for() -> None:
    password = 'p@ss "wörd" \\ #1'
    with RedisServer(password=password) as server:
        assert server.command("PING") == "PONG"
        server.password = None
        with pytest.raises(ServerError, match="NOAUTH"):
            server.command("PING")


def test_further_conf_lines_reach_the_server() -> None:
    with RedisServer(conf=["maxmemory 100mb"]) as server:
        assert "maxmemory:104857600" in server.command("INFO", "memory").splitlines()


def test_the_unix_socket_answers() -> None:
    with RedisServer() as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.unix_socket))
        connection.sendall(b"PING\r\n")
        assert connection.recv(7) == b"+PONG\r\n"


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerError, match="no-such-directive"), RedisServer(conf=["no-such-directive yes"]):
        pass


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(ServerError, match="apt-get install storelet or pip install no-such-wheel"):
        find_binary(("storelet-server",), wheel="no-such-wheel", install="storelet")


def test_the_server_ends_with_a_killed_test_process() -> None:
    program = (
        "import sys; from wg_core.testing.servers import RedisServer\n"
        "server = RedisServer(); server.start(); print(server.pid, server.folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        pid, folder = tests.stdout.readline().split()
        assert is_alive(int(pid))
        tests.kill()
    wait_until(lambda: not is_alive(int(pid)))
    shutil.rmtree(folder)


def test_the_shared_server_starts_empty_for_each_test(
    redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    redis_server.command("SET", "left over", "1")
    assert request.getfixturevalue("redis_url") == redis_server.url
    assert redis_server.command("EXISTS", "left over") == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port that is reserved is of no use to the server")
def test_a_port_belongs_to_its_server_also_while_that_is_down() -> None:
    with RedisServer() as server:
        for step in (server.kill, server.start):
            step()
            with socket.socket() as another, pytest.raises(OSError, match=f"Errno {errno.EADDRINUSE}"):
                another.bind((HOST, server.port))
