"""The demo from start to end: enqueue a job per file, run a worker, kill one of its processes, count."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from wg_core.backend import Backend
from wg_core.client import Client
from wg_core.demo import checker
from wg_core.demo.display import Display
from wg_core.demo.handlers import pack
from wg_core.demo.journal import JournalReader
from wg_core.demo.sources import find_sources
from wg_core.demo.watcher import Watcher
from wg_core.demo.worker_command import WorkerCommand
from wg_core.envelope import decode_envelope
from wg_core.errors import ConfigError, WgError
from wg_core.job import JobRecord, JobState
from wg_core.protocol import Capability, DeleteJobs, JobFilter
from wg_core.registry import open_backend, redact

PROCESSES = 2
THREADS = 4
FAILS_ONCE_EVERY = 40
FAILS_TWICE_EVERY = 200
FATAL_FILE = "antigravity.py"

INTRODUCTION = """\
wg demo on {url}
One job for each source file of Python's standard library. Some fail by design and run again, one fails for good,
and half-way a worker process is killed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the demo has to say at its end."""

    verdict: checker.Verdict
    seconds: float
    """From the start of the worker to the end of the last job."""
    url: str
    """Without its password."""
    namespace: str
    folder: str | None
    """Where the journal and the log are; None: removed."""
    worker_exit_code: int | None

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, every second run has its reason, and the worker stopped in order."""
        return self.verdict.is_good and self.worker_exit_code == 0


def run_demo(display: Display, *, url: str | None = None, limit: int | None = None, keep: bool = False) -> Summary:
    """Run the demo on a SQLite file in a temporary folder, or in a namespace of its own on the store at `url`.

    Blocks until the worker has stopped; what was stored is deleted afterwards. Raises ConfigError when several
    processes cannot share the store, DemoError when the worker ends before its jobs do.
    """
    folder = Path(tempfile.mkdtemp(prefix="wg-demo-"))
    try:
        with _fresh_store(url or f"sqlite://{quote(str(folder / 'jobs.db'))}") as store:
            return _Demo(store, folder, find_sources(limit), display).run(keep=keep)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    backend: Backend
    url: str
    namespace: str


@contextlib.contextmanager
def _fresh_store(url: str) -> Iterator[_Store]:
    """Open a namespace that nobody has, and delete its jobs in the end."""
    namespace = f"demo_{secrets.token_hex(4)}"
    with open_backend(url, namespace=namespace) as backend:
        if Capability.MULTI_PROCESS not in backend.capabilities:
            raise ConfigError(f"the demo runs several processes, and {redact(url)} lives in one: try sqlite:demo.db")
        try:
            yield _Store(backend=backend, url=url, namespace=namespace)
        finally:
            with contextlib.suppress(WgError):  # a store that went away must not hide why
                _delete_jobs(backend)


class _Demo:
    """One demonstration, step by step."""

    def __init__(self, store: _Store, folder: Path, files: Sequence[str], display: Display) -> None:
        self._store = store
        self._folder = folder
        self._files = files
        self._display = display
        self._journal_path = folder / "journal.jsonl"

    def run(self, *, keep: bool) -> Summary:
        """Enqueue, work, stop, count."""
        self._display.say(INTRODUCTION.format(url=redact(self._store.url)))
        self._enqueue()
        worker = WorkerCommand(
            self._store.url,
            self._store.namespace,
            processes=PROCESSES,
            threads=THREADS,
            log_path=self._folder / "worker.log",
        )
        self._display.say(f"wg worker: {PROCESSES} processes, {THREADS} threads each")
        begun = time.monotonic()
        with self._display, worker:
            Watcher(self._store.backend, worker, self._display, self._files, self._journal_path).run()
            seconds = time.monotonic() - begun
            exit_code = worker.stop()
        dead = {_file_of(record) for record in _dead_jobs(self._store.backend)}
        return Summary(
            verdict=checker.check(self._files, JournalReader(self._journal_path).read_new(), dead),
            seconds=seconds,
            url=redact(self._store.url),
            namespace=self._store.namespace,
            folder=str(self._folder) if keep else None,
            worker_exit_code=exit_code,
        )

    def _enqueue(self) -> None:
        begun = time.monotonic()
        fatal = next((file for file in self._files if file.endswith(FATAL_FILE)), self._files[0])
        jobs = [
            pack.job(file, str(self._journal_path), failures=_failures(number), fatal=file == fatal)
            for number, file in enumerate(self._files)
        ]
        Client(self._store.backend).enqueue_many(jobs)
        seconds = time.monotonic() - begun
        self._display.say(f"enqueued {len(jobs):,} jobs in {seconds:.2f} s: read, tokenize and compress one file each")


def _failures(number: int) -> int:
    """Return how many attempts of the job are to fail: most jobs none, a few one or two."""
    if number % FAILS_TWICE_EVERY == FAILS_TWICE_EVERY // 2:
        return 2
    return 1 if number % FAILS_ONCE_EVERY == FAILS_ONCE_EVERY // 2 else 0


def _dead_jobs(backend: Backend) -> Iterator[JobRecord]:
    cursor = None
    while True:
        page = backend.find(JobFilter(state=JobState.DEAD), cursor=cursor)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def _file_of(record: JobRecord) -> str:
    args = msgspec.json.decode(decode_envelope(record.body).args, type=dict[str, object])
    return str(args["file"])


def _delete_jobs(backend: Backend) -> None:
    for state in (JobState.READY, JobState.SCHEDULED, JobState.RETRY, JobState.DEAD):
        cursor = None
        while True:
            _, cursor = backend.alter_found(JobFilter(state=state), DeleteJobs(), cursor=cursor)
            if cursor is None:
                break
