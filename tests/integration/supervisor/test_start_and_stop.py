"""How a supervisor begins and ends, and the exit codes it leaves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from supervised import Supervised, is_alive, wait_for

from wg_core.backend import Backend
from wg_core.errors import ConfigError, UnknownBackendError
from wg_core.job import JobState
from wg_core.protocol import StatsLevel
from wg_core.settings import WorkerSettings
from wg_core.supervisor import Supervisor, WorkerEvent


@pytest.fixture
def unstored(new_supervisor: Callable[[str], Supervised], redis_url: str) -> Supervised:
    """A supervisor for tests in which the store plays no part."""
    return new_supervisor(redis_url)


def test_burst_ends_clean_when_nothing_is_left(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str]
) -> None:
    ids = {enqueue("step", f"job-{number}") for number in range(50)}
    supervised.start(burst=True, processes=2)
    assert supervised.wait() == 0
    assert {line["id"] for line in supervised.log("ended")} == ids
    assert backend.stats(StatsLevel.EXACT).ready == 0
    assert backend.workers() == []
    assert len(supervised.pids()) == 2, "an idle process was replaced"


def test_the_first_signal_lets_running_handlers_finish(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.start(processes=2, lease=600.0, heartbeat=0.2)
    supervised.wait_until_started(job_id)
    supervised.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping: running jobs" in supervised.output, "the stop heard")
    (lease,) = [worker.lease_until for worker in backend.workers() if worker.running]
    wait_for(
        lambda: [worker for worker in backend.workers() if worker.running and worker.lease_until > lease + 1_000],
        "beats while the handler finishes",
    )
    (tmp_path / "gate").touch()
    assert supervised.wait() == 0
    assert backend.get([job_id]) == []
    assert backend.workers() == []


def test_ctrl_c_reaches_the_supervisor_only(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "gate"))
    supervised.start()
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    assert os.getsid(pid) != os.getsid(supervised.process.pid), "programs that jobs start would be hit"
    os.killpg(supervised.process.pid, signal.SIGINT)  # what a terminal does
    wait_for(lambda: "stopping: running jobs" in supervised.output, "the stop heard")
    (tmp_path / "gate").touch()
    assert supervised.wait() == 0
    assert len(supervised.log("ended", job_id)) == 1
    assert "Traceback" not in supervised.output


def test_the_second_signal_gives_running_jobs_back_at_once(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "never"))
    supervised.start(shutdown_timeout=3_600)
    supervised.wait_until_started(job_id)
    supervised.process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping: running jobs" in supervised.output, "the first signal heard")
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.wait() == 1
    (record,) = backend.get([job_id])
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)
    assert not any(is_alive(pid) for pid in supervised.pids())


def test_what_outlives_the_shutdown_timeout_is_given_back(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str], tmp_path: Path
) -> None:
    job_id = enqueue("hold", gate=str(tmp_path / "never"))
    supervised.start(shutdown_timeout=0.3)
    supervised.wait_until_started(job_id)
    assert supervised.stop() == 1
    (record,) = backend.get([job_id])
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)


def test_a_process_that_cannot_hear_the_stop_is_killed_and_its_job_is_not_charged(
    supervised: Supervised, backend: Backend, enqueue: Callable[..., str]
) -> None:
    job_id = enqueue("hold_the_gil_until_killed")
    supervised.start(shutdown_timeout=0.0)
    pid = supervised.wait_until_started(job_id)[0]["pid"]
    assert supervised.stop() == 1
    assert not is_alive(pid)
    assert "did not exit in time" in supervised.events("ended")[0]["detail"]
    (record,) = backend.get([job_id])
    assert (record.state, record.attempt, record.crashes) == (JobState.READY, 0, 0)


@pytest.mark.parametrize(
    ("module", "content", "said"),
    [
        ("no_such_module", None, "cannot import 'no_such_module': ModuleNotFoundError"),
        ("broken", "def f(:\n", "cannot import 'broken': SyntaxError"),
        ("raising", "import json\n\njson.loads('{')\n", "raising.py, line 3)"),
        ("leaving", "raise SystemExit(0)\n", "cannot import 'leaving': SystemExit"),
    ],
)
def test_a_module_that_cannot_be_imported_ends_the_start_with_one_line(
    unstored: Supervised, tmp_path: Path, module: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / f"{module}.py").write_text(content)
    unstored.import_from(tmp_path)
    unstored.start("supervised_jobs", module, processes=2)
    assert unstored.wait() == 5
    (line,) = [line for line in unstored.output.splitlines() if line.startswith("ERROR")]
    assert said in line
    assert "Traceback" not in unstored.output


def test_a_module_that_breaks_while_the_worker_runs_is_tried_again_until_it_is_mended(
    unstored: Supervised, tmp_path: Path
) -> None:
    module = tmp_path / "edited.py"
    module.write_text("")
    unstored.import_from(tmp_path)
    unstored.start("edited")
    wait_for(lambda: unstored.events("ready"), "the first process")
    module.write_text("def f(:")
    os.kill(unstored.pids()[0], signal.SIGKILL)
    wait_for(lambda: unstored.output.count("cannot import 'edited'") >= 5, "several tries")
    assert "worker processes end again and again" in unstored.output
    module.write_text("")
    wait_for(lambda: len(unstored.events("ready")) == 2, "a process that could import it")
    assert unstored.stop() == 0


def test_a_store_that_cannot_be_reached_ends_the_start(new_supervisor: Callable[[str], Supervised]) -> None:
    supervised = new_supervisor("redis://:secret@127.0.0.1:1/0")
    supervised.start()
    assert supervised.wait() == 3
    (line,) = [line for line in supervised.output.splitlines() if line.startswith("ERROR")]
    assert "cannot reach redis://" in line
    assert "secret" not in supervised.output
    assert not supervised.pids()


def test_a_store_within_one_process_is_refused() -> None:
    with pytest.raises(ConfigError, match="worker processes cannot share it: use a file"):
        Supervisor("memory:", namespace="wg", settings=WorkerSettings()).run()


def test_options_that_cannot_be_sent_to_worker_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="plain JSON values"):
        Supervisor("redis:", namespace="wg", settings=WorkerSettings(), backend_options={"socket": object()})


def test_a_store_that_nobody_serves_is_refused() -> None:
    with pytest.raises(UnknownBackendError):
        Supervisor("nosuchstore:", namespace="wg", settings=WorkerSettings()).run()


def test_no_password_shows_on_the_command_line_or_in_the_environment_of_a_worker(
    new_supervisor: Callable[[str], Supervised], redis_url: str
) -> None:
    # The server asks for no password and takes any user's; what matters is where the URL goes.
    supervised = new_supervisor(redis_url.replace("redis://", "redis://default:s3cr3t@"))
    supervised.start()
    wait_for(lambda: supervised.events("started") or supervised.process.poll() is not None, "a worker process")
    pid = supervised.pids()[0]
    for file in ("cmdline", "environ"):
        assert b"s3cr3t" not in Path(f"/proc/{pid}/{file}").read_bytes()
    supervised.stop()
    assert "s3cr3t" not in supervised.output


@pytest.mark.parametrize("burst", [True, False])
def test_a_thread_of_the_users_that_outlives_the_worker_is_cut_off_and_no_failure(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, burst: bool
) -> None:
    """In burst the process must not be replaced for it: the next one would be kept the same way, and so on."""
    monkeypatch.setattr("wg_core._children.STOP_MARGIN_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clinging.py").write_text("import threading\nthreading.Thread(target=threading.Event().wait).start()\n")
    events: list[WorkerEvent] = []
    is_ready = threading.Event()

    def on_event(event: WorkerEvent) -> None:
        events.append(event)
        if event.kind == "ready":
            is_ready.set()

    settings = WorkerSettings(burst=burst)
    supervisor = Supervisor(store_url, namespace="wg", settings=settings, modules=["clinging"], on_event=on_event)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    assert is_ready.wait(60)
    if not burst:
        supervisor.stop()
    thread.join(60)
    supervisor.stop()
    thread.join(30)
    assert codes == [0]
    assert [event.kind for event in events].count("started") == 1
    (end,) = [event.detail for event in events if event.kind == "ended"]
    assert "it did not exit in time" in end


def test_a_supervisor_in_a_thread_is_stopped_by_a_call(redis_url: str) -> None:
    is_ready = threading.Event()

    def on_event(event: WorkerEvent) -> None:
        if event.kind == "ready":
            is_ready.set()
        raise RuntimeError("whoever watches cannot stop the work")

    supervisor = Supervisor(redis_url, namespace="wg", settings=WorkerSettings(), on_event=on_event)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    assert is_ready.wait(60)
    supervisor.stop()
    thread.join(60)
    assert codes == [0]
