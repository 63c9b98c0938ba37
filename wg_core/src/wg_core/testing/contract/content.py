"""Odd content. Invariant 15: names, queues, ids and bodies of any legal content come back byte-equal.

Legal: ids are 1 to 64 visible ASCII characters; names and queues 1 to 200 characters without control characters;
bodies any bytes up to 1 MiB.
"""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.outcome import Bury, Progress
from wg_core.protocol import Capability, JobFilter
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Worker, exact, new_job, record_of
from wg_core.testing.contract._capabilities import requires

ODD_NAMES = [
    " ",
    "a b",
    " leading and trailing ",
    "colon:colon::",
    "{braces}",
    "}{",
    "glob*?[a-z]",
    "percent%s%(name)s%%",
    "quote'quote\"`;--",
    "back\\slash\\",
    "$1 :name ?",
    "Größe, naïve, ελληνικά, 日本語",
    "emoji 🐘👩‍👩‍👧",
    "combining e\u0301",
    "composed \u00e9",
    "no-break\u00a0space\u2003wide\u200b",
    "right\u202eto left",
    "null",
    "0",
    "-1",
    "running",
    "jobs",
    "dead",
    "x" * 200,
    "語" * 200,
    "🐘" * 200,
]
ODD_IDS = ["0", "-1", "a:b", "{a}", "%s", "'", '"', "\\", "*", "[a-z]", "?", "$1", "a,b;c", "~!@#^&()", "Z" * 64]
ODD_BODIES = [
    b"",
    b"\x00",
    b"\x00\xff\xfe" * 10,
    bytes(range(256)),
    b"\r\n\t\x0b ",
    '{"k":"🐘 “quotes” \' % : \\\\"}'.encode(),
    b"\xef\xbb\xbf",
    b"x" * 1_048_576,
    bytes(range(256)) * 4_096,
]


def short(value: object) -> str:
    """Return the name of a case."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:30]}... {len(text)}"


@pytest.mark.parametrize("queue", ODD_NAMES, ids=short)
def test_a_queue_may_have_any_name(put: Producer, worker: Worker, queue: str) -> None:
    put("a", "b", queue=queue)
    put("c", queue="other")
    (first,) = worker.reserve(1, queues=[queue])
    assert (first.id, first.queue) == ("a", queue)
    worker.retry(first, delay_seconds=0.0)
    worker.backend.promote(10, now=worker.clock.now)
    assert worker.reserve_ids(queues=[queue]) == ["b", "a"]
    assert worker.reserve_ids() == ["c"]


def test_all_odd_queues_are_kept_apart(put: Producer, worker: Worker) -> None:
    alike = ["a", "A", "a ", " a", "\u00e1", "a\u0301", "\uff41", "a\u00a0", "aa", "a:a", "a:", ":a"]
    queues = [*ODD_NAMES, *alike]
    put.all([new_job(f"{number}", queue=queue) for number, queue in enumerate(queues)])
    assert {job.id: job.queue for job in worker.reserve(1_000)} == {f"{n}": queue for n, queue in enumerate(queues)}


def test_each_odd_queue_gives_its_own_jobs(put: Producer, worker: Worker) -> None:
    queues = [*ODD_NAMES, "a", "A", "a ", " a", "\u00e1", "a\u0301"]
    put.all([new_job(f"{number}", queue=queue) for number, queue in enumerate(queues)])
    for number, queue in enumerate(queues):
        assert worker.reserve_ids(queues=[queue]) == [f"{number}"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=short)
def test_a_job_may_have_any_name(put: Producer, worker: Worker, name: str) -> None:
    put("a", name=name)
    assert worker.take("a").name == name


@pytest.mark.parametrize("body", ODD_BODIES, ids=short)
def test_a_body_comes_back_byte_equal_on_every_way(put: Producer, worker: Worker, body: bytes) -> None:
    backend, clock = worker.backend, worker.clock
    put("a", body=body)
    job = worker.take("a")
    assert job.body == body
    worker.release(job)
    job = worker.take("a")
    worker.retry(job, delay_seconds=0.0)
    backend.promote(10, now=clock.now)
    assert worker.take("a").body == body


@requires(Capability.DELAY, Capability.INSPECT, Capability.ALTER)
@pytest.mark.parametrize("body", ODD_BODIES, ids=short)
def test_a_body_comes_back_byte_equal_from_the_schedule_and_the_dead_letters(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, body: bytes
) -> None:
    put("a", body=body, delay_seconds=1.0)
    assert record_of(backend, "a").body == body
    clock.advance(1.0)
    backend.promote(10, now=clock.now)
    worker.bury(worker.take("a"))
    assert record_of(backend, "a").body == body


def test_ids_may_hold_any_visible_ascii(put: Producer, worker: Worker, new_worker: NewWorker) -> None:
    put(*ODD_IDS)
    jobs = worker.reserve()
    assert [job.id for job in jobs] == ODD_IDS
    assert worker.held() == sorted((job_id, 1) for job_id in ODD_IDS)
    rescued = worker.backend.retire(worker.id, [(job.id, 1) for job in jobs[:3]], "killed", now=worker.clock.now)
    assert {job.id for job in rescued if job.charged} == set(ODD_IDS[:3])
    other = new_worker()
    other.ack(*other.reserve())
    assert other.reserve() == []


@requires(Capability.INSPECT)
def test_ids_that_differ_in_case_are_different(put: Producer, backend: Backend) -> None:
    put("job", "JOB", "Job")
    assert [record.id for record in backend.get(["Job", "job", "JOB"])] == ["Job", "job", "JOB"]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("name", ODD_NAMES, ids=short)
def test_odd_names_can_be_counted_and_found(put: Producer, backend: Backend, clock: Clock, *, name: str) -> None:
    put("a", queue=name, name=name)
    put("b", queue="plain", name="plain")
    (record,) = backend.find(JobFilter(state=record_of(backend, "a").state, queue=name, name=name)).jobs
    assert (record.id, record.name, record.queue) == ("a", name, name)
    assert exact(backend, clock).queues.keys() == {name, "plain"}


@requires(Capability.PAUSE)
@pytest.mark.parametrize("queue", ODD_NAMES, ids=short)
def test_any_queue_can_be_paused(put: Producer, worker: Worker, backend: Backend, *, queue: str) -> None:
    put("a", queue=queue)
    put("b", queue="other")
    backend.pause(queue)
    assert worker.reserve_ids() == ["b"]
    backend.resume(queue)
    assert worker.reserve_ids() == ["a"]


@requires(Capability.INSPECT)
def test_odd_texts_of_an_attempt_come_back_as_they_were(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    job = worker.take("a")
    text = "".join(ODD_NAMES) + "\x00\x01\n\r\u2028\x85\x1c\t"
    record = AttemptRecord(attempt=1, outcome="dead", worker=worker.id, error_message=text, traceback=text * 5)
    progress = bytes(range(256))
    worker.applied(Progress(id="a", lease_no=job.lease_no, value=progress))
    assert record_of(backend, "a").progress == progress
    worker.applied(Bury(id="a", lease_no=job.lease_no, record=record))
    assert record_of(backend, "a").history == (record,)


def test_a_batch_of_large_bodies_is_stored_whole(put: Producer, worker: Worker) -> None:
    bodies = [bytes([number]) * 1_048_576 for number in range(8)]
    put.all([new_job(f"{number}", body=body) for number, body in enumerate(bodies)])
    assert [job.body for job in worker.reserve()] == bodies


def test_a_reason_may_hold_any_text(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    job = worker.take("a")
    reason = "".join(ODD_NAMES)
    (rescued,) = backend.retire(worker.id, [("a", job.lease_no)], reason, now=clock.now)
    assert rescued.charged
