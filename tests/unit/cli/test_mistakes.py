"""What is typed wrong by hand: one clear line on stderr, the right exit code, no traceback, no password."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wg_core.cli import cli

SECRET = "hunter2"


def run(*arguments: str, url: str | None = "memory:") -> Result:
    environment = {"WG_URL": url, "WG_NAMESPACE": None}
    return CliRunner().invoke(cli, list(arguments), env=environment, prog_name="wg")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["stauts"], "no such command 'stauts', did you mean 'status'?"),
        (["jobs", "lst"], "lst"),
        (["status", "--urll", "memory:"], "--url"),
        (["worker", "--queus", "mail"], "--queues"),
        (["status", "--url", "postgre://localhost/app"], "did you mean 'postgres'?"),
        (["status", "--url", "postgresql+psycopg2://localhost/app"], "write 'postgresql://"),
        (["status", "--url", "nonsense"], "a store is named by a URL"),
        (["status", "--namespace", "My-App"], "namespace"),
        (["jobs", "list", "--state", "redy"], "redy"),
        (["jobs", "list", "--limit", "-1"], "-1"),
        (["jobs", "cancel"], "ID"),
        (["enqueue"], "NAME"),
        (["enqueue", "send", "--args", "{to: ada}"], "--args must be a JSON object"),
        (["enqueue", "send", "--args", "[1]"], "got an array"),
        (["enqueue", "send", "--args", "@/no/such/file"], "cannot read --args @/no/such/file"),
        (["enqueue", "send", "--timeout", "-5"], "never negative"),
        (["enqueue", "send", "--delay", "5x"], "5x"),
        (["enqueue", "send", "--priority", "101"], "priority"),
        (["enqueue", "send", "--at", "tomorrow"], "tomorrow"),
        (["enqueue", "send", "--at", "2030-01-31T08:00:00"], "offset"),
        (["enqueue", "send", "--at", "2030-01-31T08:00:00Z", "--delay", "5"], "delay"),
        (["enqueue", "send", "--max-retries", "-1"], "max_retries"),
        (["enqueue", "x" * 201], "200"),
        (["dead", "purge", "--older-than", "soon", "--yes"], "soon"),
        (["pause", "mail"], "no queue 'mail'"),
        (["pause", "", "--force"], "queue"),
        (["pause", "x" * 201, "--force"], "200"),
        (["worker", "--queues", ","], "queues must name at least one queue"),
        (["worker", "--threads", "0"], "threads must be a whole number from 1 to 1000, got 0"),
        (["worker", "--threads", "four"], "four"),
        (["worker", "--shutdown-timeout", "-1"], "never negative"),
        (["worker", "--lease", "1", "--heartbeat", "2"], "lease must be at least twice heartbeat"),
        (["worker", "--queues", "mail,mail"], "queues must not name one queue twice"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line_and_exit_code_2(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("wg: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_without_a_url_it_says_what_to_write() -> None:
    result = run("status", url=None)
    assert result.exit_code == 2
    assert "--url sqlite:jobs.db" in result.stderr
    assert "WG_URL" in result.stderr


def test_a_flag_wins_over_the_environment() -> None:
    assert run("status", "--url", "memory:", url="nonsense:").exit_code == 0


def test_an_unreachable_store_is_exit_code_3_and_shows_no_password() -> None:
    result = run("status", "--url", f"redis://ada:{SECRET}@127.0.0.1:1/0")
    assert result.exit_code == 3, result.output
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.output


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_text("this is no database, it is a text file of some length\n" * 40, encoding="utf-8")
    result = run("status", "--url", f"sqlite://{path}")
    assert result.exit_code == 3, result.output
    assert result.stderr.count("\n") == 1


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    result = run("status", "--url", f"sqlite://{tmp_path}/no/such/folder/jobs.db")
    assert result.exit_code in {2, 3}, result.output
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback_and_the_same_line() -> None:
    result = run("status", "--url", "nonsense", "--debug")
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("wg: a store is named by a URL")


@pytest.fixture
def own_logging() -> Iterator[None]:
    """`wg worker` sets the level of the root logger, for good: other tests count the lines of their log."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("url", ["memory:", "sqlite::memory:"])
def test_a_worker_refuses_a_store_that_lives_in_one_process(url: str) -> None:
    result = run("worker", "--url", url)
    assert result.exit_code == 2, result.output
    assert "sqlite:" in result.stderr
