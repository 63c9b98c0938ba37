"""Ids of jobs."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from wg_core import _uuid7
from wg_core._uuid7 import new_id


def test_an_id_is_a_uuid_of_version_7_in_its_usual_form() -> None:
    parsed = uuid.UUID(new_id())
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_an_id_begins_with_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    millisecond = int(_uuid7._Generator().next_value() >> 80)
    assert before <= millisecond <= time.time_ns() // 1_000_000


def test_ids_made_one_after_the_other_rise() -> None:
    ids = [new_id() for _ in range(5_000)]
    assert ids == sorted(set(ids))


def test_ids_rise_also_when_the_clock_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = _uuid7._Generator()
    first = generator.next_value()
    monkeypatch.setattr(_uuid7.time, "time_ns", lambda: 0)
    assert generator.next_value() > first


def test_ids_rise_also_when_a_millisecond_is_full() -> None:
    generator = _uuid7._Generator()
    generator._millisecond = 2**47  # far ahead of the clock
    generator._tail = 2**74 - 1
    full = _uuid7._assemble(generator._millisecond, generator._tail)
    following = generator.next_value()
    assert following > full
    assert following >> 80 == 2**47 + 1


def test_threads_never_make_the_same_id() -> None:
    start = threading.Barrier(4)

    def make() -> list[str]:
        start.wait(timeout=10)
        return [new_id() for _ in range(2_000)]

    with ThreadPoolExecutor(4) as pool:
        made = [future.result() for future in [pool.submit(make) for _ in range(4)]]
    assert len({job_id for ids in made for job_id in ids}) == 8_000


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # whatever other threads there are
def test_a_forked_child_does_not_repeat_the_ids_of_its_parent() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "\n".join(new_id() for _ in range(100)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        of_child = set(pipe.read().decode().split())
    assert len(of_child) == 100
    assert not of_child & {new_id() for _ in range(100)}
