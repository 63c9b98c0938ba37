"""`wg demo` from end to end: on a SQLite file, on Redis, and where it cannot run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from wg_core.demo.journal import JournalReader
from wg_core.envelope import decode_envelope
from wg_core.job import JobState
from wg_core.protocol import DeleteJobs, JobFilter
from wg_core.registry import open_backend

COMMAND = [sys.executable, "-m", "wg_core.cli", "demo"]


def environment(folder: Path) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("WG_")}
    return {**own, "TMPDIR": str(folder)}


def run_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(folder), capture_output=True, text=True, timeout=200, check=False
    )


FILES = 1_000
"""So many that there is work left at half time though the one who kills, or who looks for a job, stands still."""


def assert_that_the_kill_hit_and_nothing_was_lost(summary: dict[str, Any]) -> None:
    assert summary["lost"] == []
    assert summary["unexplained"] == []
    assert summary["packed"] == summary["files"] - 1
    assert len(summary["dead"]) == 1
    assert summary["retries"] > 0
    assert summary["killed_pids"]
    assert summary["interrupted"] > 0
    assert len(summary["run_twice"]) >= summary["interrupted"]
    assert summary["worker_exit_code"] == 0
    assert summary["ok"]


def test_the_demo_kills_a_process_and_loses_nothing_on_a_sqlite_file(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--files", str(FILES), "--json")
    assert result.returncode == 0, result.stderr
    assert_that_the_kill_hit_and_nothing_was_lost(json.loads(result.stdout))
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_the_same_on_redis_and_leaves_no_job_behind(tmp_path: Path, redis_url: str) -> None:
    result = run_demo(tmp_path, "--files", str(FILES), "--json", "--url", redis_url)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert_that_the_kill_hit_and_nothing_was_lost(summary)
    status = subprocess.run(
        [sys.executable, "-m", "wg_core.cli", "status", "--url", redis_url, "--json"],
        env={**environment(tmp_path), "WG_NAMESPACE": summary["namespace"]},
        capture_output=True,
        text=True,
        check=True,
    )
    left = json.loads(status.stdout)
    assert [left[state] for state in ("ready", "scheduled", "retry", "running", "dead", "workers")] == [0] * 6


def test_a_job_that_somebody_deletes_meanwhile_is_counted_as_lost(tmp_path: Path, redis_url: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "--files", str(FILES), "--json", "--url", redis_url],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        wait_for(lambda: list(tmp_path.glob("wg-demo-*/journal.jsonl")))
        [deleted] = delete_one_waiting_job(redis_url)
        stdout, stderr = demo.communicate(timeout=200)
    assert demo.returncode == 1, stderr
    summary = json.loads(stdout)
    assert summary["lost"] == [deleted]
    assert not summary["ok"]


def delete_one_waiting_job(redis_url: str) -> list[str]:
    """Delete the job that would run last, and return its file."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        [meta] = client.keys("{demo_*}:meta")
    with open_backend(redis_url, namespace=meta[1 : meta.index("}")]) as backend:
        cursor, last = None, None
        while True:
            page = backend.find(JobFilter(state=JobState.READY), cursor=cursor)
            last = page.jobs[-1] if page.jobs else last
            cursor = page.cursor
            if cursor is None:
                break
        assert last is not None
        changed = backend.alter([last.id], DeleteJobs(), expected=frozenset({JobState.READY})).changed
        return [json.loads(bytes(decode_envelope(last.body).args))["file"] for _ in changed]


def test_a_person_reads_what_happened_and_what_to_do_next(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--files", "120", "--keep")
    assert result.returncode == 0, result.stderr
    assert "enqueued 120 jobs" in result.stdout
    assert "lost: 0, run twice: " in result.stdout
    assert "wg worker --url sqlite:jobs.db your_module" in result.stdout
    [folder] = tmp_path.iterdir()
    assert f"kept in       {folder}" in result.stdout
    assert (folder / "journal.jsonl").stat().st_size > 0


def test_a_store_that_lives_in_one_process_is_refused_in_one_line(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--url", "memory:", "--json")
    assert result.returncode == 2
    assert "lives in one" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_takes_its_worker_and_its_folder_with_it(tmp_path: Path, stop: signal.Signals) -> None:
    with subprocess.Popen(
        COMMAND, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as demo:
        [journal_path] = wait_for(lambda: list(tmp_path.glob("wg-demo-*/journal.jsonl")))
        workers = {event.pid for event in wait_for(JournalReader(journal_path).read_new)}
        demo.send_signal(stop)
        _, stderr = demo.communicate(timeout=90)
    assert demo.returncode == 1, stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
    assert workers
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Return what the condition returns once it is true."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.02)
    return found
