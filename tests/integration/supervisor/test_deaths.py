"""Worker processes that die: their jobs go back at once, and charge only who was running."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from supervised import Supervised, enqueue_job, is_alive, wait_for

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import JobFilter
from wg_core.registry import open_backend
from wg_core.testing.servers import RedisServer

LONG_LEASE = 3_600.0
"""What is recovered in these tests is not recovered because a lease ran out."""


def test_the_job_of_a_killed_process_runs_again_at_once_and_is_charged_once(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    supervised.start(lease=LONG_LEASE)
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    first = supervised.wait_until_started(job_id)[0]
    os.kill(first["pid"], signal.SIGKILL)

    _, second = supervised.wait_until_started(job_id, times=2)
    assert second["pid"] != first["pid"]
    (record,) = backend.get([job_id])
    assert (record.state, record.attempt, record.crashes) == (JobState.RUNNING, 2, 1)
    assert f"process {first['pid']} was ended by signal 9" in (record.history[-1].error_message or "")
    (tmp_path / "gate").touch()
    wait_for(lambda: not backend.get([job_id]), "the job done")
    assert supervised.stop() == 0
    assert backend.workers() == []


def test_a_job_that_was_only_fetched_is_not_charged(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    supervised.start(lease=LONG_LEASE, threads=1)
    for number in range(20):
        enqueue("step", f"before-{number}")
    wait_for(lambda: len(supervised.log("ended")) == 20, "the worker used to short jobs")
    running = enqueue("hold", gate=str(tmp_path / "gate"))
    waiting = [enqueue("step", f"behind-{number}") for number in range(5)]
    first = supervised.wait_until_started(running)[0]
    os.kill(first["pid"], signal.SIGKILL)
    supervised.wait_until_started(running, times=2)
    (tmp_path / "gate").touch()
    for job_id in waiting:
        (start,) = supervised.wait_until_started(job_id)
        assert start["pid"] != first["pid"]
    assert {record.crashes for record in backend.get(waiting)} <= {0}
    assert supervised.stop() == 0


def test_a_job_that_kills_its_process_every_time_alone_ends_dead(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str]
) -> None:
    others = [enqueue("step", f"other-{number}") for number in range(100)]
    poison = enqueue("kill_the_process", max_retries=2)
    more = [enqueue("step", f"more-{number}") for number in range(100)]
    supervised.start(lease=LONG_LEASE, processes=2)
    wait_for(lambda: is_at_rest(backend), "all jobs settled")
    assert supervised.stop() == 0

    (record,) = backend.find(JobFilter(state=JobState.DEAD)).jobs
    assert record.id == poison
    assert len(supervised.log("started", poison)) == len(record.history) == record.crashes == 3
    assert {line["id"] for line in supervised.log("ended")} == {*others, *more}


def is_at_rest(backend: Backend) -> bool:
    stats = backend.stats()
    return not (stats.ready or stats.scheduled or stats.retry or stats.running)


def test_sigterm_to_a_worker_process_lets_it_finish_and_replaces_it(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    supervised.start(lease=LONG_LEASE)
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: "stopping: SIGTERM" in supervised.output, "the process heard it")
    (tmp_path / "gate").touch()
    wait_for(lambda: not is_alive(pid), "the process gone")
    wait_for(lambda: len(supervised.events("ready")) == 2, "its replacement")
    assert len(supervised.log("started", job_id)) == len(supervised.log("ended", job_id)) == 1
    assert backend.get([job_id]) == []
    assert supervised.stop() == 0


def test_a_stopped_process_is_killed_and_its_job_runs_elsewhere(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    supervised.start(lease=LONG_LEASE)
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    supervised.wait_until_started(job_id, times=2)
    assert not is_alive(pid)
    (end,) = supervised.events("ended")
    assert "stopped by a signal" in end["detail"]
    assert backend.get([job_id])[0].crashes == 1
    (tmp_path / "gate").touch()
    assert supervised.stop() == 0


def test_a_death_while_the_store_is_away_is_settled_when_it_is_back(
    tmp_path: Path, new_supervisor: Callable[[str], Supervised]
) -> None:
    with RedisServer() as server:
        supervised = new_supervisor(server.url)
        supervised.start(lease=LONG_LEASE, heartbeat=0.5)
        with open_backend(server.url, namespace="supervised") as backend:
            job_id = enqueue_job(backend, "hold", gate=str(tmp_path / "gate"))
            pid = supervised.wait_until_started(job_id)[0]["pid"]
            server.kill()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: supervised.events("ended"), "the death seen")
            wait_for(lambda: "not retired yet" in supervised.output, "a retire that failed")
            assert not supervised.events("retired")
            server.restart()
            supervised.wait_until_started(job_id, times=2)
            (tmp_path / "gate").touch()
            wait_for(lambda: not backend.get([job_id]), "the job done")
            assert supervised.stop() == 0
