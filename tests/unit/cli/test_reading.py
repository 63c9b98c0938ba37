"""The commands that only look: what they say to people and to programs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from wg_core.backend import Backend

from .conftest import WORKER, Wg

JOB_KEYS = {
    "id", "name", "queue", "state", "priority", "attempt", "max_retries", "at_most_once", "args", "timeout_seconds",
    "retry_delay_seconds", "headers", "body_base64", "enqueued_at", "run_at", "expires_at", "reserved_at", "ended_at",
    "worker", "lease_no", "started", "cancel_requested", "progress", "crashes", "snoozes", "bounces", "history",
}  # fmt: skip


@pytest.mark.parametrize("command", ["status", "queues", "jobs list", "dead list", "workers", "health", "backends"])
def test_every_reading_command_writes_json_on_an_empty_store(wg: Wg, command: str) -> None:
    arguments = command.split()
    assert wg.json(*arguments) is not None


@pytest.mark.usefixtures("one_in_each_state")
def test_status_counts_each_state_and_names_the_queues(wg: Wg) -> None:
    status = wg.json("status")
    assert {key: status[key] for key in ("ready", "scheduled", "retry", "running", "dead", "workers")} == {
        "ready": 1,
        "scheduled": 1,
        "retry": 1,
        "running": 1,
        "dead": 1,
        "workers": 1,
    }
    assert [queue["queue"] for queue in status["queues"]] == ["default", "mail"]


def test_status_says_when_jobs_wait_and_nobody_works(wg: Wg) -> None:
    wg("enqueue", "send")
    assert "no worker is running" in wg("status").stderr


@pytest.mark.usefixtures("one_in_each_state")
def test_jobs_are_listed_as_an_array_with_stable_keys(wg: Wg) -> None:
    jobs = wg.json("jobs", "list")
    assert [job["state"] for job in jobs] == ["running", "ready", "retry", "scheduled", "dead"]
    assert all(set(job) == JOB_KEYS for job in jobs)
    assert jobs[0]["args"] == {"to": "ada"}
    assert jobs[0]["enqueued_at"].endswith("Z")


@pytest.mark.usefixtures("one_in_each_state")
def test_jobs_are_filtered_by_state_queue_and_name(wg: Wg) -> None:
    assert [job["id"] for job in wg.json("jobs", "list", "--state", "retry")] == ["retry-1"]
    assert [job["id"] for job in wg.json("jobs", "list", "--queue", "mail")] == ["ready-1"]
    assert wg.json("jobs", "list", "--name", "other") == []


def test_a_list_pages_past_the_store_and_stops_at_the_limit(wg: Wg, put: Callable[..., str]) -> None:
    for number in range(1_203):
        put(f"job-{number:04}")
    assert len(wg.json("jobs", "list")) == 50
    assert len(wg.json("jobs", "list", "--limit", "700")) == 700
    assert [job["id"] for job in wg.json("jobs", "list", "--limit", "0")] == [f"job-{n:04}" for n in range(1_203)]


@pytest.mark.usefixtures("one_in_each_state")
def test_the_table_shows_who_runs_a_job_and_why_another_failed(wg: Wg) -> None:
    table = wg("jobs", "list").stdout
    assert table.splitlines()[0].split() == ["ID", "NAME", "QUEUE", "STATE", "PRIO", "RUN", "WHEN", "NOTE"]
    assert f"on {WORKER}" in table
    assert "ValueError: no such address" in table


def test_a_dead_letter_is_shown_with_its_traceback(wg: Wg, bury: Callable[..., str]) -> None:
    bury("dead-1")
    shown = wg("dead", "show", "dead-1").stdout
    assert "ValueError: no such address" in shown
    assert "Traceback" in shown
    assert wg.json("dead", "show", "dead-1")["history"][0]["error_type"] == "ValueError"


def test_showing_a_job_that_is_not_there_says_so_with_exit_code_1(wg: Wg) -> None:
    result = wg("jobs", "show", "nope")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "wg: no job 'nope' in this namespace; jobs that are done leave no record\n"


def test_a_waiting_job_is_no_dead_letter(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1")
    result = wg("dead", "show", "job-1")
    assert (result.exit_code, result.stderr) == (1, "wg: job 'job-1' is ready, not dead\n")


def test_a_body_that_is_no_envelope_is_shown_as_base64(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1", body=b"\xff\x00")
    job = wg.json("jobs", "show", "job-1")
    assert (job["args"], job["body_base64"]) == (None, "/wA=")
    assert "/wA=" in wg("jobs", "show", "job-1").stdout


def test_control_characters_in_a_name_never_reach_the_terminal(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1", name="evil\x1b[2J")
    assert "\x1b" not in wg("jobs", "list").stdout
    assert r"evil\x1b[2J" in wg("jobs", "show", "job-1").stdout


def test_workers_lists_what_each_said_of_itself(wg: Wg, backend: Backend) -> None:
    [worker] = wg.json("workers")
    assert worker["id"] == WORKER
    assert worker["pid"] is None
    assert "live" in wg("workers").stdout


def test_queues_show_counts_by_state_when_asked_to_be_exact(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1", queue="mail")
    put("job-2", queue="mail", delay_seconds=60)
    assert wg.json("queues", "--exact")[0]["scheduled"] == 1
    assert wg("queues", "--exact").stdout.split()[:4] == ["QUEUE", "READY", "OLDEST", "SCHEDULED"]


def test_health_names_the_server_and_prints_warnings(wg: Wg) -> None:
    assert "warning: " in wg("health").stdout
    assert wg.json("health")["latency_seconds"] >= 0


def test_backends_need_no_store(wg: Wg) -> None:
    schemes = {backend["scheme"] for backend in wg.json("backends")}
    assert {"memory", "sqlite", "redis"} <= schemes


def test_migrate_check_says_that_there_is_nothing_to_do(wg: Wg) -> None:
    assert wg("migrate").exit_code == 0
    result = wg("migrate", "--check")
    assert (result.exit_code, result.stdout) == (0, "schema version 1: nothing to do\n")


def test_json_is_ascii_whatever_the_content(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1", name="größe-🎉")
    stdout = wg("jobs", "list", "--json").stdout
    assert stdout.isascii()
    assert json.loads(stdout)[0]["name"] == "größe-🎉"


def test_wg_alone_shows_its_help_and_a_group_alone_says_what_is_missing(wg: Wg) -> None:
    assert wg().exit_code == 0
    assert "Commands:" in wg().stdout
    assert (wg("jobs").exit_code, wg("jobs").stderr) == (2, "wg: Missing command. (see: wg jobs --help)\n")


@pytest.mark.parametrize("group", ["jobs", "dead"])
def test_the_help_page_names_every_key_of_a_job(wg: Wg, group: str) -> None:
    words = wg(group, "--help").stdout.replace(",", " ").replace(".", " ").split()
    assert set(words) >= JOB_KEYS
