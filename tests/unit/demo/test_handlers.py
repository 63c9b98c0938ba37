"""The demo's job, run by a real worker in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_core.backend import Backend
from wg_core.client import Client
from wg_core.demo.handlers import count_tokens, pack
from wg_core.demo.journal import Event, EventKind, JournalReader
from wg_core.job import JobState
from wg_core.protocol import JobFilter
from wg_core.registry import open_backend
from wg_core.worker import WorkerPool


@pytest.fixture
def backend(fresh_namespace: str) -> Iterator[Backend]:
    with open_backend("memory:", namespace=fresh_namespace) as backend:
        yield backend


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.py"
    path.write_text("answer = 42\n" * 100, encoding="utf-8")
    return path


def run(backend: Backend, source: Path, *, failures: int = 0, fatal: bool = False) -> list[Event]:
    """Run one job until nothing is ready, due or running."""
    journal_path = source.with_name("journal")
    Client(backend).enqueue(pack.job(str(source), str(journal_path), failures=failures, fatal=fatal))
    with WorkerPool(backend=backend, handlers=[pack], threads=1, retrier_interval=0.05) as pool:
        pool.run_until_idle(timeout=90)
    return JournalReader(journal_path).read_new()


def test_a_job_notes_what_it_read_and_what_it_made_of_it(backend: Backend, source: Path) -> None:
    started, packed = run(backend, source)
    assert (started.kind, packed.kind) == (EventKind.STARTED, EventKind.PACKED)
    assert packed.bytes_read == source.stat().st_size
    assert 0 < packed.bytes_packed < packed.bytes_read
    assert packed.tokens == count_tokens(source.read_bytes()) > 300
    assert (packed.job, packed.lease_no) == (started.job, started.lease_no)


def test_a_job_that_fails_by_design_waits_for_its_retry(backend: Backend, source: Path) -> None:
    assert [event.kind for event in run(backend, source, failures=1)][:2] == [EventKind.STARTED, EventKind.FAILED]


def test_the_fatal_job_is_a_dead_letter_after_one_attempt(backend: Backend, source: Path) -> None:
    events = run(backend, source, fatal=True)
    assert [event.kind for event in events] == [EventKind.STARTED, EventKind.REFUSED]
    [record] = backend.find(JobFilter(state=JobState.DEAD)).jobs
    assert record.attempt == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"def f(:\n  '''open", b"", b"# coding: nonsense\n"])
def test_broken_files_are_counted_as_far_as_they_go(content: bytes) -> None:
    assert count_tokens(content) >= 0
