"""A memory store of the test's own, jobs in every state in it, and `wg` run within the process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from wg_core.backend import Backend
from wg_core.cli import cli
from wg_core.history import AttemptRecord
from wg_core.job import JobState, NewJob
from wg_core.outcome import Bury, Retry
from wg_core.protocol import JobFilter, WorkerBeat
from wg_core.registry import open_backend

WORKER = "host-1-abc"


@dataclass
class Wg:
    """Runs `wg` on the test's store."""

    namespace: str

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        environment = {"WG_URL": "memory:", "WG_NAMESPACE": self.namespace}
        return CliRunner().invoke(cli, list(arguments), input=stdin, env=environment, prog_name="wg")

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def wg(fresh_namespace: str) -> Wg:
    return Wg(fresh_namespace)


@pytest.fixture
def backend(fresh_namespace: str) -> Iterator[Backend]:
    with open_backend("memory:", namespace=fresh_namespace) as backend:
        backend.beat([WorkerBeat(worker=WORKER, lease_seconds=30, first=True)])
        yield backend


@pytest.fixture
def put(backend: Backend) -> Callable[..., str]:
    """Store one job and return its id."""

    def put(job_id: str, name: str = "send", **attributes: Any) -> str:
        job = NewJob(id=job_id, name=name, body=attributes.pop("body", b'{"v":1,"args":{"to":"ada"}}'), **attributes)
        backend.enqueue([job])
        return job_id

    return put


@pytest.fixture
def bury(backend: Backend, put: Callable[..., str]) -> Callable[..., str]:
    """Store one job and let it fail for good."""

    def bury(job_id: str, name: str = "send", queue: str = "default", message: str = "no such address") -> str:
        put(job_id, name, queue=queue)
        [job] = backend.reserve([queue], 1, WORKER, request_no=next(numbers))
        record = AttemptRecord(
            attempt=1,
            outcome="dead",
            worker=WORKER,
            started_at=1_700_000_000_000,
            ended_at=1_700_000_001_000,
            error_type="ValueError",
            error_message=message,
            traceback=f"Traceback (most recent call last):\nValueError: {message}",
        )
        backend.report(WORKER, [Bury(id=job.id, lease_no=job.lease_no, record=record)], request_no=next(numbers))
        return job_id

    numbers = iter(range(1, 1_000_000))
    return bury


@pytest.fixture
def one_in_each_state(backend: Backend, put: Callable[..., str], bury: Callable[..., str]) -> None:
    bury("dead-1")
    put("retry-1")
    [job] = backend.reserve(["default"], 1, WORKER, request_no=1_000_001)
    record = AttemptRecord(attempt=1, outcome="retry", worker=WORKER, error_type="OSError", error_message="away")
    backend.report(
        WORKER, [Retry(id=job.id, lease_no=job.lease_no, delay_seconds=60, record=record)], request_no=1_000_001
    )
    put("running-1")
    backend.reserve(["default"], 1, WORKER, request_no=1_000_002)
    put("ready-1", queue="mail", priority=5)
    put("scheduled-1", delay_seconds=3600)


def ids_in(backend: Backend, state: JobState) -> list[str]:
    return [record.id for record in backend.find(JobFilter(state=state)).jobs]
