"""Opening, closing, migrating, sharing a store, and what a namespace keeps apart."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from wg_core.backend import API_VERSION, Backend
from wg_core.errors import BackendUnavailableError, ConfigError, UnsupportedError
from wg_core.job import JobState
from wg_core.outcome import Ack
from wg_core.protocol import Capability, JobFilter, RequeueJobs, Retention, WorkerBeat
from wg_core.registry import open_backend as open_by_url
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import LEASE_SECONDS, NewWorker, Producer, Worker, exact, new_job, state_of
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend
from wg_core.testing.contract._races import at_once

Call = Callable[[Backend], object]

EVERY_CALL: dict[str, Call] = {
    "migrate": lambda backend: backend.migrate(),
    "dry_run": lambda backend: backend.migrate(dry_run=True),
    "enqueue": lambda backend: backend.enqueue([new_job("a")]),
    "reserve": lambda backend: backend.reserve(None, 1, "w", request_no=1),
    "report": lambda backend: backend.report("w", [Ack(id="a", lease_no=1)], request_no=1),
    "beat": lambda backend: backend.beat([WorkerBeat(worker="w", lease_seconds=30.0, first=True)]),
    "held": lambda backend: backend.held("w"),
    "retire": lambda backend: backend.retire("w", [], "gone"),
    "rescue": lambda backend: backend.rescue(10),
    "promote": lambda backend: backend.promote(10),
    "wait": lambda backend: backend.wait(None, 0.01),
    "get": lambda backend: backend.get(["a"]),
    "find": lambda backend: backend.find(JobFilter(state=JobState.READY)),
    "stats": lambda backend: backend.stats(),
    "workers": lambda backend: backend.workers(),
    "health": lambda backend: backend.health(),
    "alter": lambda backend: backend.alter(["a"], RequeueJobs()),
    "prune": lambda backend: backend.prune(Retention(dead_most=1), 10),
    "pause": lambda backend: backend.pause("q"),
    "resume": lambda backend: backend.resume("q"),
}


def test_the_backend_is_written_for_this_version_of_the_contract(backend: Backend) -> None:
    assert backend.api_version == API_VERSION
    assert backend.capabilities <= frozenset(Capability)


# ---------------------------------------------------------------------- closing


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL.keys())
def test_a_closed_backend_refuses_every_call(open_backend: OpenBackend, call: Call, *, used: bool) -> None:
    backend = open_backend()
    if used:
        backend.enqueue([new_job("a")])
    backend.close()
    with pytest.raises((BackendUnavailableError, UnsupportedError)) as error:
        call(backend)
    if isinstance(error.value, UnsupportedError):
        assert error.value.capability not in backend.capabilities


def test_closing_twice_is_closing_once(open_backend: OpenBackend) -> None:
    unused, used = open_backend(), open_backend()
    used.enqueue([new_job("a")])
    for backend in (unused, used, used, unused):
        backend.close()


def test_closing_one_instance_leaves_the_others_and_the_jobs(
    put: Producer, worker: Worker, open_backend: OpenBackend
) -> None:
    with open_backend() as other:
        other.enqueue([new_job("a")], now=worker.clock.now)
    put("b")
    assert worker.reserve_ids() == ["a", "b"]


def test_instances_of_one_store_share_everything(
    put: Producer, new_worker: NewWorker, open_backend: OpenBackend, clock: Clock
) -> None:
    put("a", "b")
    one, two = open_backend(), open_backend()
    worker = new_worker(one)
    a, _ = worker.reserve()
    same_worker_elsewhere = Worker(two, clock, worker.id)
    assert same_worker_elsewhere.held() == [("a", 1), ("b", 1)]
    same_worker_elsewhere.ack(a)
    clock.advance(LEASE_SECONDS + 1.0)
    assert [job.id for job in two.rescue(10, now=clock.now)] == ["b"]
    assert worker.beat().lease_lost


# ---------------------------------------------------------------------- options


def test_an_unknown_option_is_a_config_error_that_names_it(
    backend_url: str, backend_options: dict[str, Any], namespace: str
) -> None:
    with pytest.raises(ConfigError, match="no_such_option"):
        open_by_url(backend_url, namespace=namespace, **backend_options, no_such_option=1)
    separator = "&" if "?" in backend_url else "?"
    with pytest.raises(ConfigError, match="no_such_option"):
        open_by_url(f"{backend_url}{separator}no_such_option=1", namespace=namespace, **backend_options)


# ---------------------------------------------------------------------- schema


def test_migrating_twice_does_nothing_the_second_time(backend: Backend, put: Producer, worker: Worker) -> None:
    first = backend.migrate()
    put("a")
    second = backend.migrate()
    assert (second.from_version, second.to_version, second.statements) == (first.to_version, first.to_version, ())
    worker.take("a")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(backend: Backend, open_backend: OpenBackend) -> None:
    planned = backend.migrate(dry_run=True)
    assert backend.migrate(dry_run=True) == planned
    assert open_backend().migrate(dry_run=True) == planned
    assert backend.migrate().from_version == planned.from_version
    assert backend.migrate(dry_run=True).statements == ()


def test_the_first_call_brings_the_schema_by_itself(open_backend: OpenBackend, put: Producer, worker: Worker) -> None:
    put("a")
    with open_backend() as another:
        assert another.migrate(dry_run=True).statements == ()
    worker.take("a")


def test_many_may_migrate_and_start_at_once(open_backend: OpenBackend, new_worker: NewWorker) -> None:
    def start(number: int) -> None:
        backend = open_backend()
        if number % 2:
            backend.migrate()
        assert backend.enqueue([new_job(f"{number}")])[0].stored

    at_once(*(partial(start, number) for number in range(8)))
    assert sorted(new_worker().reserve_ids()) == [f"{number}" for number in range(8)]


# ---------------------------------------------------------------------- namespaces


@pytest.fixture
def neighbour(backend_url: str, backend_options: dict[str, Any], namespace: str) -> Any:
    """The same store under another namespace, one that begins with ours."""
    name = f"{namespace}_{uuid.uuid4().hex[:8]}"
    with open_by_url(backend_url, namespace=name, **backend_options) as backend:
        yield backend


def test_namespaces_keep_jobs_and_workers_apart(
    put: Producer, worker: Worker, neighbour: Backend, backend: Backend, clock: Clock
) -> None:
    put("a", body=b"ours")
    neighbour.enqueue([new_job("a", body=b"theirs")], now=clock.now)
    assert Worker(neighbour, clock, worker.id).beat().lease_lost, "the worker is not registered there"
    their_worker = NewWorker(neighbour, clock)()
    assert [job.body for job in their_worker.reserve()] == [b"theirs"]
    assert [job.body for job in worker.reserve()] == [b"ours"]
    clock.advance(LEASE_SECONDS + 1.0)
    assert [job.worker for job in backend.rescue(100, now=clock.now)] == [worker.id]
    assert [job.worker for job in neighbour.rescue(100, now=clock.now)] == [their_worker.id]


@requires(Capability.DELAY, Capability.PAUSE, Capability.INSPECT)
def test_namespaces_keep_schedules_pauses_and_counts_apart(
    put: Producer, worker: Worker, neighbour: Backend, backend: Backend, *, clock: Clock
) -> None:
    put("a", delay_seconds=1.0)
    neighbour.pause("default")
    clock.advance(1.0)
    assert neighbour.promote(100, now=clock.now).moved == 0
    assert backend.promote(100, now=clock.now).moved == 1
    worker.ack(worker.take("a"))
    assert exact(backend, clock).queues["default"].done == 1
    assert exact(neighbour, clock).queues.get("default") is None or not exact(neighbour, clock).queues["default"].done
    assert state_of(neighbour, "a") is None


# ---------------------------------------------------------------------- health


@requires(Capability.INSPECT)
def test_health_names_the_server_and_a_round_trip(backend: Backend) -> None:
    health = backend.health()
    assert health.server
    assert health.latency_seconds >= 0.0
    assert all(isinstance(warning, str) and warning for warning in health.warnings)
