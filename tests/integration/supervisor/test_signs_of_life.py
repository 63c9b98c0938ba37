"""Leases: who keeps them when handlers hold the GIL, supervisors die or sleep, and what follows when one is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from supervised import Supervised, is_alive, state_of, wait_for

from wg_core.backend import Backend
from wg_core.job import JobState

SHORT_LEASE = {"lease": 6.0, "heartbeat": 0.5}
"""To be waited for, but no shorter: a machine that stands still for a few seconds must not cost anybody a lease."""
LONG_LEASE = {"lease": 600.0, "heartbeat": 0.5}


def test_a_handler_that_holds_the_gil_for_three_leases_runs_exactly_once(
    supervised: Supervised, new_supervisor: Callable[[str], Supervised], backend: Backend, enqueue: Callable[..., str]
) -> None:
    rescuer = new_supervisor(supervised.url)
    rescuer.start(queues=["elsewhere"], **SHORT_LEASE)
    wait_for(lambda: rescuer.events("ready"), "somebody who would rescue")
    job_id = enqueue("hold_the_gil", seconds=18.0, timeout=300.0)
    supervised.start(**SHORT_LEASE)
    wait_for(lambda: supervised.log("ended", job_id), "the job's end")

    (end,) = supervised.log("ended", job_id)
    assert end["neighbour_stood_seconds"] >= 3 * SHORT_LEASE["lease"], "the GIL was not held all the time"
    wait_for(lambda: not backend.get([job_id]), "the job acknowledged")
    assert len(supervised.log("started", job_id)) == 1
    assert supervised.stop() == rescuer.stop() == 0


def test_a_handler_that_holds_the_gil_past_its_timeout_is_ended_with_its_process(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str]
) -> None:
    job_id = enqueue("hold_the_gil_until_killed", timeout=4.0, max_retries=0)
    supervised.start(**SHORT_LEASE)
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    wait_for(lambda: backend.get([job_id])[0].state is JobState.DEAD, "the job given up")
    assert not is_alive(pid)
    (end,) = supervised.events("ended")
    assert "no sign of life" in end["detail"]
    assert supervised.stop() == 0


def test_when_the_supervisor_is_killed_its_children_finish_what_runs_and_go(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.start(processes=2, shutdown_timeout=600, **LONG_LEASE)
    supervised.wait_until_started(job_id)
    wait_for(lambda: len(backend.workers()) == 2, "both workers registered")
    supervised.process.kill()
    supervised.wait()
    idle_pid, busy_pid = sorted(supervised.pids(), key=lambda pid: pid == supervised.log("started")[0]["pid"])
    wait_for(lambda: not is_alive(idle_pid), "the idle one gone")
    (lease,) = [worker.lease_until for worker in backend.workers()]
    later = enqueue("step", "later")
    wait_for(lambda: backend.workers()[0].lease_until > lease + 3_000, "the busy one beating for itself")
    (tmp_path / "gate").touch()
    wait_for(lambda: not is_alive(busy_pid), "the busy one gone")

    assert len(supervised.log("started", job_id)) == len(supervised.log("ended", job_id)) == 1
    assert [record.id for record in backend.get([job_id, later])] == [later], "it fetched without a supervisor"
    assert backend.workers() == []


def test_orphans_go_when_their_shutdown_timeout_is_over_whatever_runs(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "never"))
    supervised.start(shutdown_timeout=0.5, **LONG_LEASE)
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    supervised.process.kill()
    supervised.wait()
    wait_for(lambda: not is_alive(pid), "the orphan gone")
    (record,) = backend.get([job_id])
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)


def test_a_suspended_supervisor_does_not_cost_its_children_their_leases(
    supervised: Supervised,
    new_supervisor: Callable[[str], Supervised],
    backend: Backend,
    enqueue: Callable[..., str],
    tmp_path: Path,
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.start(**SHORT_LEASE)
    supervised.wait_until_started(job_id)
    rescuer = new_supervisor(supervised.url)
    rescuer.start(**SHORT_LEASE)
    wait_for(lambda: len(backend.workers()) == 2, "somebody who would rescue")
    supervised.suspend()
    (before,) = [worker.lease_until for worker in backend.workers() if worker.running]
    wait_for(
        lambda: [worker for worker in backend.workers() if worker.running and worker.lease_until > before + 9_000],
        "the child beating for itself, long after its lease would have run out",
    )
    supervised.process.send_signal(signal.SIGCONT)
    (tmp_path / "gate").touch()
    wait_for(lambda: not backend.get([job_id]), "the job acknowledged")
    assert len(supervised.log("started", job_id)) == 1
    assert supervised.stop() == rescuer.stop() == 0


def test_a_worker_whose_lease_was_lost_is_replaced_under_a_new_id(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.start(**LONG_LEASE)
    first = supervised.wait_until_started(job_id)[0]
    (old,) = backend.workers()
    (rescued,) = backend.retire(old.id, [(job_id, first["lease_no"])], "as a rescuer would")
    assert rescued.id == job_id

    second = supervised.wait_until_started(job_id, times=2)[1]
    assert second["pid"] != first["pid"]
    wait_for(lambda: not is_alive(first["pid"]), "the old process gone")
    assert backend.get([job_id])[0].state is JobState.RUNNING, "the stale outcome was accepted"
    assert [worker.id for worker in backend.workers()] != [old.id]
    wait_for(lambda: supervised.events("ended"), "its end seen by the supervisor")
    kinds = [event["kind"] for event in supervised.events("started", "ended")]
    assert kinds == ["started", "started", "ended"], "its replacement waited for it"
    (tmp_path / "gate").touch()
    wait_for(lambda: not backend.get([job_id]), "the job acknowledged")
    assert supervised.stop() == 0


def test_a_tree_that_was_suspended_for_less_than_its_lease_goes_on_as_if_nothing_was(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.environment["WG_TEST_STOPPED_PATIENCE"] = "60"  # nobody can resume two processes in one moment
    supervised.start(lease=600.0, heartbeat=0.2)
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    (lease,) = [worker.lease_until for worker in backend.workers()]
    for each in (supervised.process.pid, pid):
        os.kill(each, signal.SIGSTOP)
        wait_for(lambda each=each: state_of(each) == "T", "both stopped, the supervisor first")
    for each in (supervised.process.pid, pid):
        os.kill(each, signal.SIGCONT)
    wait_for(lambda: backend.workers()[0].lease_until > lease + 1_000, "beats again")
    (tmp_path / "gate").touch()
    wait_for(lambda: not backend.get([job_id]), "the job acknowledged")
    assert supervised.pids() == [pid]
    assert supervised.stop() == 0
