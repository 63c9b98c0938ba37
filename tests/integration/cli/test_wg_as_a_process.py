"""`wg` as a shell sees it: exit codes, pipes, signals, and no password anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_core.testing.servers import RedisServer

SECRET = "hunter2-äöü"
ENCODED_SECRET = "hunter2-%C3%A4%C3%B6%C3%BC"

HANDLERS = """
from pathlib import Path

from wg_core import job


@job
def touch(path: str) -> None:
    Path(path).touch()
"""


class Shell:
    """Runs `wg` in a folder of the test's own, on a SQLite file there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite://{folder / 'jobs.db'}"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("WG_")}
        self.environment["WG_URL"] = self.url

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "wg_core.cli", *arguments]

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def wg(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def locked_redis() -> Iterator[RedisServer]:
    with RedisServer(password=SECRET) as server:
        yield server


def wait_for(condition: object, seconds: float = 90.0) -> None:
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.02)


def assert_one_line(result: subprocess.CompletedProcess[str], exit_code: int, expected: str) -> None:
    assert result.returncode == exit_code, result.stderr
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr


def test_enqueue_then_a_burst_worker_runs_the_job_and_ends_with_0(wg: Shell) -> None:
    (wg.folder / "shop.py").write_text(HANDLERS, encoding="utf-8")
    target = wg.folder / "touched"
    enqueued = wg("enqueue", "touch", "--args", json.dumps({"path": str(target)}))
    assert (enqueued.returncode, enqueued.stderr) == (0, "")
    worked = wg("worker", "shop", "--burst", "--threads", "2")
    assert worked.returncode == 0, worked.stderr
    assert target.exists()
    assert json.loads(wg("jobs", "list", "--json").stdout) == []


def test_the_worker_says_what_it_is_before_it_works(wg: Shell) -> None:
    (wg.folder / "shop.py").write_text(HANDLERS, encoding="utf-8")
    banner = wg("worker", "shop", "--burst", "--queues", "mail,low", "--queues", "default").stderr
    assert "worker on sqlite:///" in banner
    assert "queues mail, low, default" in banner
    assert "modules shop" in banner


def test_worker_settings_come_from_the_environment_and_flags_win(wg: Shell) -> None:
    banner = wg("worker", "--burst", "--threads", "3", WG_WORKER_THREADS="7", WG_WORKER_PROCESSES="2").stderr
    assert "processes 2, threads 3" in banner


def test_a_module_that_does_not_import_is_exit_code_5(wg: Shell) -> None:
    (wg.folder / "broken.py").write_text("import no_such_module_at_all\n", encoding="utf-8")
    result = wg("worker", "broken", "--burst")
    assert result.returncode == 5, result.stderr
    assert "no_such_module_at_all" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_that_is_not_there_is_exit_code_5(wg: Shell) -> None:
    result = wg("worker", "no_such_shop", "--burst")
    assert result.returncode == 5, result.stderr
    assert "no_such_shop" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["enqueue", "send"], ["worker", "--burst"]])
def test_an_unreachable_server_is_exit_code_3(wg: Shell, command: list[str]) -> None:
    result = wg(*command, WG_URL=f"redis://:{ENCODED_SECRET}@127.0.0.1:1/0")
    assert result.returncode == 3, result.stderr
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr
    assert ENCODED_SECRET not in result.stderr


@pytest.mark.parametrize("command", [["status"], ["worker", "--burst"]])
def test_a_wrong_password_is_exit_code_3_and_is_never_shown(
    wg: Shell, locked_redis: RedisServer, command: list[str]
) -> None:
    result = wg(*command, WG_URL=f"redis://:wrong-secret@127.0.0.1:{locked_redis.port}/0")
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert "wrong-secret" not in result.stderr


def test_an_unreadable_file_is_exit_code_3(wg: Shell) -> None:
    path = wg.folder / "folder.db"
    path.mkdir()
    assert_one_line(wg("status", "--url", f"sqlite://{path}"), 3, "folder.db")


def test_a_reader_that_goes_away_is_no_error_to_talk_about(wg: Shell) -> None:
    for number in range(3):
        wg("enqueue", "touch", "--id", f"job-{number}")
    with subprocess.Popen(
        [*wg.command("jobs", "list", "--json")],
        env=wg.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_sigterm_stops_an_idle_worker_with_0(wg: Shell) -> None:
    (wg.folder / "shop.py").write_text(HANDLERS, encoding="utf-8")
    with wg.start("worker", "shop") as process:
        wait_for(lambda: json.loads(wg("workers", "--json").stdout))
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stderr
    assert json.loads(wg("workers", "--json").stdout) == []


def test_migrate_sql_prints_statements_and_check_tells_by_its_exit_code(wg: Shell) -> None:
    before = wg("migrate", "--check")
    assert before.returncode == 4, before.stderr
    statements = wg("migrate", "--sql").stdout
    assert "CREATE TABLE" in statements
    assert wg("migrate", "--check").returncode == 4
    assert wg("migrate").returncode == 0
    assert wg("migrate", "--check").returncode == 0


def test_help_imports_no_driver_and_no_runtime() -> None:
    program = (
        "import sys\n"
        "from wg_core.cli import cli\n"
        "try:\n"
        "    cli.main(['--help'], prog_name='wg')\n"
        "finally:\n"
        "    sys.stderr.write(' '.join(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    loaded = set(result.stderr.split())
    assert loaded.isdisjoint({"sqlalchemy", "redis", "sqlite3", "rich", "wg_core.supervisor", "wg_core.worker"})
