"""The documented keys: their names, their types, and that nothing else is ever written or left behind."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from redis import Redis

from tests.backends.redis.support import blocked, eventually, failed, new_job, register
from wg_core.job import JobState
from wg_core.outcome import Ack, Bury, Cancel, Progress, Release, Retry, Start
from wg_core.protocol import CancelJobs, DeleteJobs, RequeueJobs, Retention
from wg_redis import RedisBackend
from wg_redis._scripts import load

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "stores" / "redis.md"
SCRIPTS = ROOT / "wg_redis" / "src" / "wg_redis" / "lua"
DOCUMENTED = dict(re.findall(r"^\| `\{ns\}:([^`]+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
"""Type by key, from the table of the page: `running:<worker>` is a hash."""


def keys_by_name(client: Redis) -> dict[str, str]:
    """Type by documented name of every key there is; an undocumented one stands under its own name."""
    found = {}
    for key in client.scan_iter():
        name = key.removeprefix("{shop}:")
        documented = next((known for known in DOCUMENTED if re.fullmatch(re.sub("<.*>", ".*", known), name)), key)
        found[documented] = client.type(key)
    return found


def test_the_keys_are_those_of_the_documentation(shop: RedisBackend, client: Redis) -> None:
    leave_waiters(shop, client)
    found = keys_by_name(client)
    leave_tokens(shop, client)
    leave_jobs_in_every_state(shop)
    found |= keys_by_name(client)
    leave_a_worker_that_is_gone(shop)
    found |= keys_by_name(client)
    assert found == DOCUMENTED


def leave_waiters(backend: RedisBackend, client: Redis) -> None:
    for queues in (None, ["mail"]):
        wait = threading.Thread(target=backend.wait, args=(queues, 3600.0))
        wait.start()
        eventually(lambda: blocked(client))
        backend.interrupt()
        wait.join()
        eventually(lambda: not blocked(client))  # else the next one is taken to wait already, or its token is taken


def leave_tokens(backend: RedisBackend, client: Redis) -> None:
    for key in ("{shop}:waiters", "{shop}:waiters:mail"):
        client.zadd(key, {"a process that was killed": 9e12})
    backend.enqueue([new_job(name, queue="mail") for name in ("first", "second")])


def leave_jobs_in_every_state(backend: RedisBackend) -> None:
    register(backend, "w")
    backend.enqueue([new_job(name) for name in ("retried", "buried", "held")])
    retried, buried, held = (
        {"id": job.id, "lease_no": job.lease_no} for job in backend.reserve(["default"], 3, "w", request_no=1)
    )
    outcomes = [
        Retry(**retried, delay_seconds=600.0, record=failed()),
        Bury(**buried, record=failed()),
        Progress(**held, value=b"1"),
    ]
    backend.report("w", outcomes, request_no=1)
    backend.alter(["held"], CancelJobs())
    backend.enqueue([new_job("ready"), new_job("scheduled", delay_seconds=600.0, expires_in_seconds=900.0)])
    backend.pause("paused")


def leave_a_worker_that_is_gone(backend: RedisBackend) -> None:
    register(backend, "gone", lease_seconds=600.0)
    lease_until = next(worker.lease_until for worker in backend.workers() if worker.id == "gone")
    backend.reserve(["mail"], 2, "gone", request_no=1)
    assert len(backend.rescue(1, now=lease_until)) == 1


@pytest.mark.parametrize("queue", ["", "default", "jobs", "a:b", ":", "*", "{x}", "schedule", "default ", "é🔑"])
def test_every_queue_has_a_key_of_its_own(shop: RedisBackend, client: Redis, queue: str) -> None:
    shop.enqueue([new_job("a", queue=queue)])
    assert client.type("{shop}:jobs" if queue == "default" else f"{{shop}}:jobs:{queue}") == "zset"
    register(shop)
    assert [(job.id, job.queue) for job in shop.reserve([queue], 10, "w", request_no=1)] == [("a", queue)]


def test_places_stay_exact_when_a_million_million_jobs_came_before(shop: RedisBackend, client: Redis) -> None:
    shop.migrate()
    client.set("{shop}:seq", 10**12)
    shop.enqueue(
        [new_job(f"{priority}-{number}", priority=priority) for number in range(3) for priority in (-100, 0, 100)]
    )
    register(shop)
    jobs = shop.reserve(None, 9, "w", request_no=1)
    expected = [f"{priority}-{number}" for priority in (100, 0, -100) for number in range(3)]
    assert [job.id for job in jobs] == expected
    shop.report("w", [Release(id=job.id, lease_no=job.lease_no) for job in reversed(jobs)], request_no=1)
    assert [job.id for job in shop.reserve(None, 9, "w", request_no=2)] == expected


def test_finished_work_leaves_only_totals(shop: RedisBackend, client: Redis) -> None:
    register(shop)
    for round_no in range(1, 4):
        names = [f"{round_no}-{number}" for number in range(60)]
        shop.enqueue([new_job(name, queue=f"q{name[-1]}", expires_in_seconds=999.0) for name in names])
        end_in_every_way(shop, round_no, names)
        if round_no == 1:
            after_one_round = keys_by_name(client)
    shop.retire("w", [], "the test is over")
    left = keys_by_name(client)
    assert left.keys() == {"meta", "seq", "queues", "counters"}
    assert left.keys() <= after_one_round.keys()
    totals = shop.stats().queues.values()
    assert [sum(getattr(queue, how) for queue in totals) for how in ("done", "failed", "cancelled")] == [60, 30, 90]


def end_in_every_way(backend: RedisBackend, round_no: int, names: list[str]) -> None:
    jobs = backend.reserve(None, 100, "w", request_no=3 * round_no)
    held = [{"id": job.id, "lease_no": job.lease_no} for job in jobs]
    outcomes = [Start(**one) for one in held[:5]]
    outcomes += [Progress(**one, value=b"1") for one in held[:5]]
    outcomes += [Ack(**one) for one in held[:20]]
    outcomes += [Retry(**one, delay_seconds=0.0, record=failed()) for one in held[20:30]]
    outcomes += [Bury(**one, record=failed()) for one in held[30:40]]
    outcomes += [Release(**one) for one in held[40:50]]
    outcomes += [Cancel(**one) for one in held[50:]]
    backend.report("w", outcomes, request_no=3 * round_no)
    backend.promote(100)
    jobs = backend.reserve(None, 100, "w", request_no=3 * round_no + 1)
    assert len(jobs) == 20
    backend.alter([job.id for job in jobs], CancelJobs())
    held = [{"id": job.id, "lease_no": job.lease_no} for job in jobs]
    backend.report("w", [Release(**one) for one in held], request_no=3 * round_no + 1)
    dead = [record.id for record in backend.get(names) if record.state is JobState.DEAD]
    assert len(dead) == 10
    backend.alter(dead[:5], RequeueJobs())
    backend.alter(dead[:5], DeleteJobs())
    assert backend.prune(Retention(dead_most=0), 100) == 5


def test_a_script_says_what_it_takes_gives_and_promises() -> None:
    for path in SCRIPTS.glob("*.lua"):
        text = path.read_text(encoding="utf-8")
        assert "\n-- KEYS[1] " in text, path.name
        assert "\n-- Returns" in text, path.name
        assert "\n-- Guarantee: " in text, path.name
        for number in range(1, 9):
            if f"ARGV[{number}]" in text.split("\n\n", 1)[1]:
                assert re.search(rf"^-- ARGV\[{number}(\.\.)?\]", text, re.MULTILINE), (path.name, number)


def test_a_script_that_may_run_on_a_full_server_says_so_and_enqueue_does_not() -> None:
    assert load("enqueue").source.startswith("#!lua\n")
    for name in ("reserve", "report", "beat", "retire", "rescue", "promote", "prune", "alter"):
        assert load(name).source.startswith("#!lua flags=allow-oom\n")
    for name in ("get", "page", "stats", "tally", "workers", "held"):
        assert load(name).source.startswith("#!lua flags=no-writes\n")
