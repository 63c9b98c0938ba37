"""What a caller learns when the server is killed, paused, full, read-only or emptied: real servers, real faults."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.backends.redis.support import OpenRedis, eventually, failed, new_job, register
from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError, SchemaError
from wg_core.job import JobState
from wg_core.outcome import Ack, Applied, Release, Retry
from wg_core.protocol import RequeueJobs
from wg_core.testing.servers import HOST, RedisServer
from wg_redis import RedisBackend

IMPATIENT = {"socket_timeout": 0.3, "connect_timeout": 0.3}


@pytest.fixture
def backend(open_redis: OpenRedis, own_server: RedisServer) -> RedisBackend:
    return open_redis(own_server.url)


@pytest.fixture
def prepared(open_redis: OpenRedis, own_server: RedisServer) -> RedisBackend:
    """A backend with a worker, on a server that knows the scripts."""
    backend = open_redis(own_server.url)
    backend.enqueue([new_job("first")])
    backend.reserve(None, 1, register(backend, "first"), request_no=1)
    backend.report("first", [Ack(id="first", lease_no=1)], request_no=1)
    register(backend)
    return backend


# ---------------------------------------------------------------------- killed and restarted


def test_no_server_means_that_nothing_happened(open_redis: OpenRedis) -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        backend = open_redis(f"redis://:hunter2@{HOST}:{unused.getsockname()[1]}")
        with pytest.raises(BackendUnavailableError, match="cannot be reached") as error:
            backend.enqueue([new_job()])
    assert "hunter2" not in f"{error.value!r} {error.value.__cause__!r}"


def test_after_a_restart_the_next_call_works_and_finds_what_was_answered(
    backend: RedisBackend, own_server: RedisServer
) -> None:
    backend.enqueue([new_job()])
    kill(own_server, backend)
    with pytest.raises(BackendUnavailableError):
        backend.enqueue([new_job("b")])
    with pytest.raises(BackendUnavailableError):
        backend.stats()
    own_server.start()
    assert backend.enqueue([new_job("a"), new_job("b")])[0].stored is False
    assert backend.stats().ready == 2


def test_a_restart_between_two_calls_goes_unnoticed(backend: RedisBackend, own_server: RedisServer) -> None:
    backend.enqueue([new_job()])
    kill(own_server, backend)
    own_server.start()
    register(backend)
    assert [job.id for job in backend.reserve(None, 10, "w", request_no=1)] == ["a"]


def kill(server: RedisServer, backend: RedisBackend) -> None:
    """Kill the server, and return when the connections of the backend have heard of it."""
    server.kill()
    for link in backend._server._links._all:
        assert link.socket.recv(1, socket.MSG_PEEK) == b""


def test_a_server_that_dies_before_it_answers_leaves_the_caller_in_doubt(
    backend: RedisBackend, own_server: RedisServer
) -> None:
    backend.enqueue([new_job()])
    own_server.pause()
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(backend.enqueue, [new_job("b")])
        eventually(lambda: has_unread_bytes(own_server))
        own_server.kill()
        assert isinstance(call.exception(), AmbiguousResultError)


def has_unread_bytes(server: RedisServer) -> bool:
    """Whether a command has reached the server's side of a connection, by the kernel's table."""
    port = f":{server.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(port) and not line.split()[4].endswith(":00000000") for line in lines)


# ---------------------------------------------------------------------- paused


@contextmanager
def pausing(server: RedisServer, backend: RedisBackend) -> Iterator[None]:
    """Pause the server; the connections that the backend has wait for answers no longer than a moment."""
    for link in backend._server._links._all:
        link.socket.settimeout(IMPATIENT["socket_timeout"])
    server.pause()
    yield
    server.resume()


def test_a_write_without_an_answer_is_ambiguous_and_may_be_repeated(
    prepared: RedisBackend, own_server: RedisServer
) -> None:
    with pausing(own_server, prepared), pytest.raises(AmbiguousResultError, match="did not answer"):
        prepared.enqueue([new_job()])
    eventually(lambda: prepared.get(["a"]))
    assert [answer.stored for answer in prepared.enqueue([new_job()])] == [False]


def test_a_write_is_never_sent_twice(prepared: RedisBackend, own_server: RedisServer) -> None:
    prepared.enqueue([new_job()])
    with pausing(own_server, prepared), pytest.raises(AmbiguousResultError):
        prepared.enqueue([new_job("b")])
    eventually(lambda: prepared.get(["b"]))
    assert calls_of(own_server, "incrby") == 3  # one sequence number for each job


def calls_of(server: RedisServer, command: str) -> int:
    line = next(line for line in server.command("INFO", "commandstats").splitlines() if f"cmdstat_{command}:" in line)
    return int(line.partition("calls=")[2].partition(",")[0])


def test_a_reserve_whose_answer_was_lost_is_answered_again(prepared: RedisBackend, own_server: RedisServer) -> None:
    prepared.enqueue([new_job("a"), new_job("b")])
    with pausing(own_server, prepared), pytest.raises(AmbiguousResultError):
        prepared.reserve(None, 1, "w", request_no=1)
    eventually(lambda: prepared.held("w"))
    (job,) = prepared.reserve(None, 1, "w", request_no=1)
    assert (job.id, job.attempt, job.lease_no) == ("a", 1, 1)
    assert prepared.stats().ready == 1


def test_a_report_whose_answer_was_lost_is_answered_again(prepared: RedisBackend, own_server: RedisServer) -> None:
    prepared.enqueue([new_job()])
    (job,) = prepared.reserve(None, 1, "w", request_no=1)
    outcomes = [Retry(id="a", lease_no=job.lease_no, delay_seconds=60.0, record=failed()), Ack(id="b", lease_no=1)]
    with pausing(own_server, prepared), pytest.raises(AmbiguousResultError):
        prepared.report("w", outcomes, request_no=1)
    eventually(lambda: not prepared.held("w"))
    assert prepared.report("w", outcomes, request_no=1) == [Applied.APPLIED, Applied.LOST]
    assert len(prepared.get(["a"])[0].history) == 1


def test_a_read_without_an_answer_changed_nothing(
    open_redis: OpenRedis, prepared: RedisBackend, own_server: RedisServer
) -> None:
    with pausing(own_server, prepared):
        with pytest.raises(BackendUnavailableError):
            prepared.stats()
        with pytest.raises(BackendUnavailableError):  # and so for a new connection, which is not greeted
            open_redis(own_server.url, **IMPATIENT).enqueue([new_job()])
    assert prepared.get(["a"]) == []


def works(backend: RedisBackend) -> bool:
    try:
        backend.stats()
    except BackendUnavailableError:
        return False
    return True


# ---------------------------------------------------------------------- full


def test_a_full_server_refuses_new_jobs_whole_and_can_still_be_drained(
    backend: RedisBackend, own_server: RedisServer
) -> None:
    backend.enqueue([new_job("a", expires_in_seconds=600.0), new_job("b"), new_job("c", delay_seconds=0.001)])
    register(backend)
    eventually(lambda: backend.promote(10).next_due_seconds is None)
    own_server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BackendUnavailableError, match="OOM"):
        backend.enqueue([new_job("d")])
    jobs = backend.reserve(None, 10, "w", request_no=1)
    assert [job.id for job in jobs] == ["a", "b", "c"]
    first, *others = ({"id": job.id, "lease_no": job.lease_no} for job in jobs)
    answer = backend.report("w", [Release(**first), *(Ack(**other) for other in others)], request_no=1)
    assert answer == [Applied.APPLIED] * 3
    own_server.command("CONFIG", "SET", "maxmemory", "0")
    assert backend.get(["a", "b", "c", "d"])[0].state is JobState.READY
    assert backend.stats().ready == 1


# ---------------------------------------------------------------------- roles


@pytest.fixture
def replica(own_server: RedisServer) -> Iterator[RedisServer]:
    """A replica of `own_server`, in step with it."""
    own_server.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with RedisServer(append_only=False, conf=[f"replicaof {HOST} {own_server.port}"]) as replica:
        eventually(lambda: "master_link_status:up" in replica.command("INFO", "replication"))
        yield replica


def test_a_replica_can_be_read_and_says_that_it_takes_no_jobs(
    open_redis: OpenRedis, backend: RedisBackend, replica: RedisServer
) -> None:
    backend.enqueue([new_job()])
    at_replica = open_redis(replica.url)
    eventually(lambda: at_replica.get(["a"]))
    with pytest.raises(BackendUnavailableError, match="READONLY"):
        at_replica.enqueue([new_job("b")])
    assert any("replica" in warning for warning in at_replica.health().warnings)


def test_a_replica_that_became_the_primary_is_used_at_once(
    open_redis: OpenRedis, backend: RedisBackend, replica: RedisServer
) -> None:
    at_replica = open_redis(replica.url)
    with pytest.raises(BackendUnavailableError):
        at_replica.enqueue([new_job()])
    replica.command("REPLICAOF", "NO", "ONE")
    assert at_replica.enqueue([new_job()])[0].stored


def test_a_failover_behind_one_address_is_followed_within_the_call(
    open_redis: OpenRedis, own_server: RedisServer, replica: RedisServer, tmp_path: Path
) -> None:
    address = tmp_path / "redis.sock"
    address.symlink_to(replica.unix_socket)
    backend = open_redis(f"redis+unix://{address}")
    backend.stats()  # connected to what is, or has become, a replica
    address.unlink()
    address.symlink_to(own_server.unix_socket)
    assert backend.enqueue([new_job()])[0].stored


def test_a_replica_that_lost_its_primary_and_may_not_be_read_is_unavailable(
    open_redis: OpenRedis, own_server: RedisServer, replica: RedisServer
) -> None:
    replica.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    own_server.kill()
    eventually(lambda: "master_link_status:down" in replica.command("INFO", "replication"))
    with pytest.raises(BackendUnavailableError, match="MASTERDOWN"):
        open_redis(replica.url).stats()


def test_too_few_replicas_refuse_before_anything_happened(backend: RedisBackend, own_server: RedisServer) -> None:
    backend.enqueue([new_job()])
    own_server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(BackendUnavailableError, match="NOREPLICAS"):
        backend.enqueue([new_job("b")])
    own_server.command("CONFIG", "SET", "min-replicas-to-write", "0")
    assert backend.stats().ready == 1


# ---------------------------------------------------------------------- scripts and keys


def test_scripts_that_the_server_forgot_are_sent_again(backend: RedisBackend, own_server: RedisServer) -> None:
    backend.enqueue([new_job()])
    own_server.command("SCRIPT", "FLUSH")
    assert not backend.enqueue([new_job()])[0].stored
    own_server.command("SCRIPT", "FLUSH")
    assert backend.stats().ready == 1
    own_server.command("SCRIPT", "FLUSH")
    backend.wait(None, 60.0)


def test_an_emptied_server_is_set_up_again_by_those_that_go_on(backend: RedisBackend, own_server: RedisServer) -> None:
    backend.enqueue([new_job()])
    own_server.flush()
    assert backend.stats().ready == 0
    assert backend.enqueue([new_job()])[0].stored
    assert backend.migrate().from_version == 1


def test_a_newer_layout_stops_writers_and_readers_that_are_already_running(
    open_redis: OpenRedis, own_server: RedisServer
) -> None:
    backend = open_redis(own_server.url, "shop")
    backend.enqueue([new_job()])
    own_server.command("HSET", "{shop}:meta", "schema_version", "9", "min_compatible", "8")
    for call in (lambda: backend.enqueue([new_job()]), backend.stats, backend.migrate, lambda: backend.held("w")):
        with pytest.raises(SchemaError, match="8 or newer"):
            call()


def test_a_newer_layout_that_allows_us_is_used(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url, "shop")
    own_server.command("HSET", "{shop}:meta", "schema_version", "9", "min_compatible", "1")
    assert backend.enqueue([new_job()])[0].stored
    assert backend.migrate().to_version == 9


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "{shop}:meta", "mine"),
        ("HSET", "{shop}:meta", "colour", "red"),
        ("ZADD", "{shop}:jobs", "1", "mine"),
        ("SET", "{shop}:heads", "mine"),
    ],
)
def test_keys_of_somebody_else_are_never_adopted(
    open_redis: OpenRedis, own_server: RedisServer, command: tuple[str, ...]
) -> None:
    own_server.command(*command)
    with pytest.raises(SchemaError, match="was not made by wg"):
        open_redis(own_server.url, "shop").enqueue([new_job()])


def test_a_key_that_was_overwritten_is_named_as_such(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url, "shop")
    backend.enqueue([new_job()])
    own_server.command("SET", "{shop}:heads", "mine")
    with pytest.raises(SchemaError, match="was not made by wg"):
        backend.enqueue([new_job()])


def test_a_queue_whose_key_is_taken_takes_no_job_and_nothing_of_its_batch(
    open_redis: OpenRedis, own_server: RedisServer
) -> None:
    backend = open_redis(own_server.url, "shop")
    own_server.command("SET", "{shop}:jobs:mail", "mine")
    jobs = [new_job("a"), new_job("b", queue="mail")]
    with pytest.raises(SchemaError, match="was not made by wg"):
        backend.enqueue(jobs)
    assert backend.get(["a", "b"]) == []
    own_server.command("DEL", "{shop}:jobs:mail")
    assert [answer.stored for answer in backend.enqueue(jobs)] == [True, True]


def test_text_that_is_no_unicode_is_refused_for_good(backend: RedisBackend) -> None:
    with pytest.raises(BackendRejectedError, match="cannot be stored"):
        backend.enqueue([new_job(queue="\ud800")])
    with pytest.raises(BackendRejectedError, match="cannot be stored"):
        backend.pause("\ud800")
    backend.enqueue([new_job()])
    assert backend.alter(["a"], RequeueJobs()).refused == {"a": "ready"}


# ---------------------------------------------------------------------- connections


def test_threads_share_a_few_connections(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url, max_connections=3)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: backend.enqueue([new_job(f"{number}")]), range(400)))
    assert backend.stats().ready == 400
    connected = own_server.command("CLIENT", "LIST").count("name=wg")
    assert 1 <= connected <= 3


def test_a_pool_that_stays_busy_says_so(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url, max_connections=1, **IMPATIENT)
    eventually(lambda: works(backend))
    own_server.pause()
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(backend.enqueue, [new_job(name)]) for name in "ab"]
        errors = {type(call.exception()) for call in calls}
    own_server.resume()
    assert errors <= {AmbiguousResultError, BackendUnavailableError}
    eventually(lambda: works(backend))


def test_an_exception_raised_into_a_caller_leaves_no_answer_for_the_next_one(
    open_redis: OpenRedis, own_server: RedisServer
) -> None:
    backend = open_redis(own_server.url)
    backend.enqueue([new_job()])
    raised = threading.Event()

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            backend.enqueue([new_job("b")])
        raised.set()

    own_server.pause()
    caller = threading.Thread(target=interrupted)
    caller.start()
    eventually(lambda: has_unread_bytes(own_server))
    raise_in(caller)
    own_server.resume()
    caller.join(60.0)
    assert raised.is_set()
    assert [record.id for record in backend.get(["a"])] == ["a"]


def raise_in(thread: threading.Thread) -> None:
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))


def test_close_leaves_no_connection(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url)
    backend.enqueue([new_job()])
    backend.wait(["other"], 0.01)
    assert own_server.command("CLIENT", "LIST").count("name=wg") == 2
    backend.close()
    eventually(lambda: "name=wg" not in own_server.command("CLIENT", "LIST"))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # from Python 3.12 on, where threads are
def test_a_child_of_a_fork_uses_connections_of_its_own(backend: RedisBackend, own_server: RedisServer) -> None:
    backend.enqueue([new_job()])
    backend.wait(["other"], 0.01)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            backend.wait(["other"], 0.01)
            code = 0 if backend.enqueue([new_job("child")])[0].stored else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    backend.wait(["other"], 0.01)
    assert backend.stats().ready == 2
