"""`wg` where stdin and stdout are a terminal: it asks, and it draws."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import NewJob
from wg_core.outcome import Bury
from wg_core.protocol import WorkerBeat
from wg_core.registry import open_backend


@dataclass
class Answer:
    exit_code: int
    screen: str


def wg_in_a_terminal(url: str, *arguments: str, typed: str = "", **environment: str) -> Answer:
    """Run `wg` on a pseudo-terminal, type something, and return what was on the screen."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "wg_core.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "WG_URL": url, "TERM": "xterm", "COLUMNS": "120", **environment},
    )
    os.close(theirs)
    chunks: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(ours, chunks))
    reader.start()
    exit_code = process.wait(100)
    reader.join(60)
    os.close(ours)
    return Answer(exit_code, b"".join(chunks).decode())


def read_all(descriptor: int, chunks: list[bytes]) -> None:
    """Read until the other side of the terminal is closed, which Linux reports as an error."""
    try:
        while chunk := os.read(descriptor, 65_536):
            chunks.append(chunk)
    except OSError:
        return


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path / 'jobs.db'}"


@pytest.fixture
def backend(url: str) -> Iterator[Backend]:
    with open_backend(url) as backend:
        backend.beat([WorkerBeat(worker="w", lease_seconds=30, first=True)])
        backend.enqueue([NewJob(id="dead-1", name="[red]send", body=b'{"v":1}')])
        [job] = backend.reserve(None, 1, "w", request_no=1)
        record = AttemptRecord(attempt=1, outcome="dead", worker="w", error_type="ValueError", error_message="no")
        backend.report("w", [Bury(id=job.id, lease_no=job.lease_no, record=record)], request_no=1)
        yield backend


def test_a_bulk_delete_asks_and_takes_no_for_an_answer(url: str, backend: Backend) -> None:
    answer = wg_in_a_terminal(url, "dead", "delete", "--all", typed="n\n")
    assert "Delete all dead letters? [y/N]" in answer.screen
    assert answer.exit_code == 1
    assert backend.stats().dead == 1


def test_a_bulk_delete_takes_yes_for_an_answer(url: str, backend: Backend) -> None:
    answer = wg_in_a_terminal(url, "dead", "delete", "--all", typed="y\n")
    assert "deleted 1 dead letter" in answer.screen
    assert answer.exit_code == 0
    assert backend.stats().dead == 0


@pytest.mark.usefixtures("backend")
def test_a_table_in_a_terminal_is_drawn_and_takes_no_name_for_markup(url: str) -> None:
    screen = wg_in_a_terminal(url, "dead", "list").screen
    assert "\x1b[1m" in screen
    assert "[red]send" in screen
    assert "ValueError: no" in screen


@pytest.mark.usefixtures("backend")
def test_json_in_a_terminal_is_still_plain_json(url: str) -> None:
    assert json.loads(wg_in_a_terminal(url, "dead", "list", "--json").screen)[0]["id"] == "dead-1"


def test_the_demo_draws_a_bar_in_a_terminal(tmp_path: Path) -> None:
    answer = wg_in_a_terminal("", "demo", "--files", "60", TMPDIR=str(tmp_path))
    assert answer.exit_code == 0, answer.screen
    assert "60 of 60 jobs" in answer.screen
    assert "lost: 0, run twice: " in answer.screen
