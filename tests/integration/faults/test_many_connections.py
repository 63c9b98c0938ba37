"""Many workers that ask at once: no job is held twice, and nobody hears of the crowd."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from audit import at_rest
from trees import HERE, NAMESPACE, sized
from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.registry import open_backend
from wg_core.testing.servers import MariaDBServer, PostgresServer, PrivateServer, RedisServer

PROCESSES, THREADS = 4, 8
JOBS = sized(3_000, full=30_000)


def clients_of(server: PrivateServer) -> int:
    """Return how many connections the server has beside the one that asks."""
    match server:
        case RedisServer():
            return len(server.command("CLIENT", "LIST").splitlines()) - 1
        case PostgresServer():
            ((count,),) = server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wg'")
        case MariaDBServer():
            ((count,),) = server.execute("SELECT count(*) - 1 FROM information_schema.processlist WHERE user = 'root'")
        case _:
            raise AssertionError(f"no way to count the connections of {server.product}")
    return int(count)


@contextlib.contextmanager
def reserving(url: str) -> Iterator[Callable[[], list[list[object]]]]:
    """Start the processes; called, they reserve all at once, and the answer is what they got."""
    with contextlib.ExitStack() as ends:
        processes = []
        for number in range(PROCESSES):
            command = [sys.executable, "reserver.py", url, NAMESPACE, f"process-{number}", str(THREADS)]
            process = subprocess.Popen(
                command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            ends.callback(process.communicate)
            ends.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]

        def reserve() -> list[list[object]]:
            assert let_go() == ["begun\n"] * PROCESSES
            return [json.loads(line)["reserved"] for line in let_go()]

        def let_go() -> list[str]:
            for process in processes:
                process.stdin.write("go\n")
                process.stdin.flush()
            lines = [process.stdout.readline() for process in processes]
            for line, process in zip(lines, processes, strict=True):
                assert line, process.communicate()[1]
            return lines

        yield reserve


@pytest.fixture
def backend(server: PrivateServer) -> Iterator[Backend]:
    with open_backend(server.url, namespace=NAMESPACE) as opened:
        yield opened


def test_32_connections_of_4_processes_reserve_at_once_and_no_job_is_held_twice(
    server: PrivateServer, backend: Backend
) -> None:
    ids = [f"{number}" for number in range(JOBS)]
    for first in range(0, JOBS, 500):
        backend.enqueue([NewJob(id=job_id, name="work", body=b"{}") for job_id in ids[first : first + 500]])
    with reserving(server.url) as reserve:
        by_process = reserve()
        connections = clients_of(server)
    assert connections >= PROCESSES * THREADS, "the workers shared connections"
    assert all(by_process), "one process got no job"
    reserved = [(job_id, lease_no) for jobs in by_process for job_id, lease_no in jobs]
    assert sorted(reserved) == sorted((job_id, 1) for job_id in ids)
    assert at_rest(backend)
