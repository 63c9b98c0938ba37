"""The commands that change jobs and queues: what they change, what they refuse, and when they ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState

from .conftest import WORKER, Wg, ids_in


def test_enqueue_writes_the_id_and_nothing_else(wg: Wg, backend: Backend) -> None:
    result = wg("enqueue", "send", "--args", '{"to": "ada"}', "--queue", "mail", "--priority", "7", "--id", "a-1")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a-1\n", "")
    [record] = backend.get(["a-1"])
    assert (record.name, record.queue, record.priority, record.state) == ("send", "mail", 7, JobState.READY)


def test_enqueue_takes_every_option_of_a_job(wg: Wg) -> None:
    wg(
        *("enqueue", "send", "--id", "a-1", "--delay", "5m", "--max-retries", "9", "--retry-delay", "2s"),
        *("--timeout", "1.5h", "--expires-in", "7d", "--at-most-once"),
    )
    job = wg.json("jobs", "show", "a-1")
    assert (job["state"], job["max_retries"], job["retry_delay_seconds"]) == ("scheduled", 9, 2.0)
    assert (job["timeout_seconds"], job["at_most_once"]) == (5400.0, True)
    assert job["expires_at"] is not None


def test_a_timeout_of_none_is_not_the_default_timeout(wg: Wg) -> None:
    wg("enqueue", "send", "--id", "a-1", "--timeout", "none")
    wg("enqueue", "send", "--id", "a-2")
    assert [wg.json("jobs", "show", job_id)["timeout_seconds"] for job_id in ("a-1", "a-2")] == [None, 300.0]


def test_enqueue_at_a_moment_with_an_offset_keeps_the_moment(wg: Wg) -> None:
    wg("enqueue", "send", "--id", "a-1", "--at", "2099-01-31T08:00:00+01:00")
    assert wg.json("jobs", "show", "a-1")["run_at"] == "2099-01-31T07:00:00.000Z"


def test_enqueueing_an_id_twice_says_that_nothing_was_changed(wg: Wg) -> None:
    assert wg.json("enqueue", "send", "--id", "a-1")["stored"] is True
    again = wg("enqueue", "send", "--id", "a-1", "--json")
    assert json.loads(again.stdout)["stored"] is False
    assert "was there before" in again.stderr


def test_args_come_from_a_file_or_from_stdin(wg: Wg, tmp_path_args: str) -> None:
    wg("enqueue", "send", "--id", "a-1", "--args", f"@{tmp_path_args}")
    wg("enqueue", "send", "--id", "a-2", "--args", "-", stdin='{"to": "grace"}')
    assert wg.json("jobs", "show", "a-1")["args"] == {"to": "file"}
    assert wg.json("jobs", "show", "a-2")["args"] == {"to": "grace"}


@pytest.fixture
def tmp_path_args(tmp_path: Path) -> str:
    path = tmp_path / "args.json"
    path.write_text('{"to": "file"}', encoding="utf-8")
    return str(path)


def test_cancel_ends_waiting_jobs_and_asks_running_ones(wg: Wg, backend: Backend, put: Callable[..., str]) -> None:
    put("running-1")
    backend.reserve(["default"], 1, WORKER, request_no=1)
    put("ready-1")
    assert wg("jobs", "cancel", "running-1", "ready-1").stdout == "cancelled 2 jobs\n"
    assert backend.get(["ready-1"]) == []
    assert backend.get(["running-1"])[0].cancel_requested


def test_deleting_a_running_job_is_refused_with_the_reason_and_exit_code_1(
    wg: Wg, backend: Backend, put: Callable[..., str]
) -> None:
    put("running-1")
    backend.reserve(["default"], 1, WORKER, request_no=1)
    result = wg("jobs", "delete", "running-1", "nope")
    assert (result.exit_code, result.stdout) == (1, "deleted 0 jobs\n")
    assert "running-1 was left as it is: running" in result.stderr
    assert "nope was left as it is: no such job" in result.stderr


def test_a_scheduled_job_is_requeued_to_run_now(wg: Wg, backend: Backend, put: Callable[..., str]) -> None:
    put("job-1", delay_seconds=3600)
    assert wg("jobs", "requeue", "job-1").exit_code == 0
    assert ids_in(backend, JobState.READY) == ["job-1"]


def test_dead_letters_are_retried_by_id_without_a_question(wg: Wg, backend: Backend, bury: Callable[..., str]) -> None:
    bury("dead-1")
    bury("dead-2")
    assert wg("dead", "retry", "dead-1").stdout == "retried 1 dead letter\n"
    assert ids_in(backend, JobState.READY) == ["dead-1"]


def test_retrying_a_job_that_is_not_dead_is_refused(wg: Wg, put: Callable[..., str]) -> None:
    put("job-1", delay_seconds=60)
    result = wg("dead", "retry", "job-1")
    assert (result.exit_code, result.stdout) == (1, "retried 0 dead letters\n")
    assert "scheduled" in result.stderr


def test_bulk_retry_by_filter_touches_only_what_was_asked_for(
    wg: Wg, backend: Backend, bury: Callable[..., str]
) -> None:
    bury("dead-1", queue="mail")
    bury("dead-2", queue="mail", name="other")
    bury("dead-3")
    assert wg("dead", "retry", "--queue", "mail", "--name", "send", "--yes").stdout == "retried 1 dead letter\n"
    assert ids_in(backend, JobState.READY) == ["dead-1"]


def test_bulk_changes_page_through_more_than_one_page(wg: Wg, backend: Backend, bury: Callable[..., str]) -> None:
    for number in range(1_100):
        bury(f"dead-{number}")
    assert wg("dead", "retry", "--all", "--yes").stdout == "retried 1,100 dead letters\n"
    assert backend.stats().dead == 0


def test_bulk_changes_without_a_terminal_need_yes(wg: Wg, backend: Backend, bury: Callable[..., str]) -> None:
    bury("dead-1")
    for command in (["retry", "--all"], ["delete", "--all"], ["delete", "dead-1"], ["purge", "--older-than", "0"]):
        result = wg("dead", *command)
        assert result.exit_code == 2
        assert "add --yes" in result.stderr
    assert ids_in(backend, JobState.DEAD) == ["dead-1"]


@pytest.mark.parametrize("arguments", [[], ["id-1", "--all"], ["--all", "--queue", "mail"]])
def test_a_bulk_change_must_say_exactly_which_jobs(wg: Wg, arguments: list[str]) -> None:
    result = wg("dead", "delete", "--yes", *arguments)
    assert result.exit_code == 2
    assert "which dead letters?" in result.stderr


def test_purge_deletes_by_age_and_by_number(wg: Wg, backend: Backend, bury: Callable[..., str]) -> None:
    for number in range(5):
        bury(f"dead-{number}")
    assert wg("dead", "purge", "--older-than", "7d", "--yes").stdout == "purged 0 jobs\n"
    assert wg("dead", "purge", "--keep", "2", "--yes").stdout == "purged 3 jobs\n"
    assert wg.json("dead", "purge", "--older-than", "0", "--yes")["changed"] in {0, 2}


def test_purge_needs_a_limit(wg: Wg) -> None:
    assert wg("dead", "purge", "--yes").exit_code == 2


def test_a_queue_is_paused_and_resumed(wg: Wg, backend: Backend, put: Callable[..., str]) -> None:
    put("job-1", queue="mail")
    assert wg("pause", "mail").stdout == "paused 'mail'\n"
    assert backend.stats().queues["mail"].paused
    assert "paused" in wg("queues").stdout.splitlines()[1]
    assert wg("resume", "mail").stdout == "resumed 'mail'\n"
    assert not backend.stats().queues["mail"].paused


def test_pausing_an_unknown_queue_is_taken_for_a_slip_unless_forced(
    wg: Wg, backend: Backend, put: Callable[..., str]
) -> None:
    put("job-1", queue="mail")
    result = wg("pause", "mial")
    assert result.exit_code == 2
    assert "no queue 'mial', did you mean 'mail'?" in result.stderr
    assert wg("pause", "mial", "--force").exit_code == 0
    assert backend.stats().queues["mial"].paused
