"""Waiting without polling: tokens go to those that wait, from this process and from others."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from redis import Redis

from tests.backends.redis.support import PATIENCE_SECONDS, OpenRedis, blocked, eventually, new_job, register
from wg_core.errors import BackendUnavailableError
from wg_core.outcome import Release
from wg_core.protocol import RescheduleJobs
from wg_core.testing.servers import RedisServer
from wg_redis import RedisBackend

TOO_LONG_SECONDS = 1_000.0
"""No test waits for so long: a wait that nobody ends makes the test fail by its time limit."""


@pytest.fixture
def other(open_redis: OpenRedis, redis_url: str) -> RedisBackend:
    """A second backend on the namespace of `shop`, as in another process."""
    return open_redis(redis_url, "shop")


def waiting(
    backend: RedisBackend, client: Redis, queues: Sequence[str] | None, how_many: int = 1
) -> list[Future[None]]:
    """Start threads that wait, and return when the server blocks them all."""
    before = blocked(client)
    threads = ThreadPoolExecutor(how_many)
    waits = [threads.submit(backend.wait, queues, TOO_LONG_SECONDS) for _ in range(how_many)]
    threads.shutdown(wait=False)
    eventually(lambda: blocked(client) == before + how_many)
    return waits


def ended(waits: Sequence[Future[None]]) -> int:
    return sum(wait.done() for wait in waits)


def finish(waits: Sequence[Future[None]]) -> None:
    for wait in waits:
        wait.result(PATIENCE_SECONDS)


def test_a_job_that_is_ready_ends_the_wait_before_it_begins(shop: RedisBackend) -> None:
    shop.enqueue([new_job()])
    shop.wait(None, TOO_LONG_SECONDS)
    shop.wait(["other", "default"], TOO_LONG_SECONDS)


def give_a_waiting_job(shop: RedisBackend) -> None:
    shop.enqueue([new_job(delay_seconds=600.0)])


def give_a_running_job(shop: RedisBackend) -> None:
    shop.enqueue([new_job()])
    shop.reserve(None, 1, register(shop), request_no=1)


def give_a_paused_job(shop: RedisBackend) -> None:
    shop.pause("default")
    shop.enqueue([new_job()])


def give_nothing(shop: RedisBackend) -> None:
    """The job comes later."""


BECOME_READY: dict[str, tuple[Callable[[RedisBackend], None], Callable[[RedisBackend], object]]] = {
    "enqueue": (give_nothing, lambda shop: shop.enqueue([new_job()])),
    "resume": (give_a_paused_job, lambda shop: shop.resume("default")),
    "promote": (give_a_waiting_job, lambda shop: shop.promote(10, now=shop.get(["a"])[0].run_at)),
    "reschedule": (give_a_waiting_job, lambda shop: shop.alter(["a"], RescheduleJobs())),
    "release": (give_a_running_job, lambda shop: shop.report("w", [Release(id="a", lease_no=1)], request_no=1)),
    "retire": (give_a_running_job, lambda shop: shop.retire("w", [], "it was killed")),
    "rescue": (give_a_running_job, lambda shop: shop.rescue(10, now=shop.workers()[0].lease_until)),
}
"""What must be there before, and what makes it ready."""


@pytest.mark.parametrize("queues", [None, ["default"], ["other", "default"]])
@pytest.mark.parametrize("how", BECOME_READY)
def test_whatever_makes_a_job_ready_wakes_a_waiter(
    shop: RedisBackend, other: RedisBackend, client: Redis, how: str, queues: list[str] | None
) -> None:
    prepare, make_ready = BECOME_READY[how]
    prepare(other)
    waits = waiting(shop, client, queues)
    make_ready(other)
    finish(waits)
    assert other.stats().ready == 1


def test_one_job_wakes_one_waiter(shop: RedisBackend, other: RedisBackend, client: Redis) -> None:
    waits = waiting(shop, client, None, how_many=3)
    other.enqueue([new_job()])
    eventually(lambda: ended(waits) == 1)
    other.enqueue([new_job("b"), new_job("c")])
    finish(waits)
    assert client.exists("{shop}:wake", "{shop}:waiters") == 0


def test_a_batch_wakes_those_that_can_help(shop: RedisBackend, other: RedisBackend, client: Redis) -> None:
    waits = [*waiting(shop, client, ["default"]), *waiting(shop, client, None, how_many=2)]
    other.enqueue([new_job(f"{number}") for number in range(100)])
    finish(waits)


def test_jobs_of_other_queues_wake_nobody(shop: RedisBackend, other: RedisBackend, client: Redis) -> None:
    waits = waiting(shop, client, ["mail"])
    other.enqueue([new_job()])
    assert client.exists("{shop}:wake", "{shop}:wake:mail", "{shop}:wake:default") == 0
    assert not ended(waits)
    other.enqueue([new_job("b", queue="mail")])
    finish(waits)


def test_nothing_is_pushed_while_nobody_waits(shop: RedisBackend, client: Redis) -> None:
    shop.enqueue([new_job()])
    assert [key for key in client.scan_iter("{shop}:*") if "wake" in key or "waiters" in key] == []


def test_a_waiter_that_died_leaves_nothing_behind(shop: RedisBackend, client: Redis) -> None:
    shop.wait(["mail", "default"], 0.2)
    for queue in ("mail", "default"):
        assert client.pttl(f"{{shop}}:waiters:{queue}") <= 200
    eventually(lambda: not list(client.scan_iter("{shop}:waiters*")))
    shop.wait(None, 0.001)
    client.zadd("{shop}:waiters", {"a process that was killed": 4e12})
    shop.enqueue([new_job()])
    assert 0 < client.pttl("{shop}:wake") <= 60_000


def test_another_process_wakes_this_one(shop: RedisBackend, redis_url: str, client: Redis) -> None:
    waits = waiting(shop, client, None)
    program = (
        "import sys; from wg_redis import RedisBackend; from wg_core.job import NewJob\n"
        "with RedisBackend.open(sys.argv[1], 'shop') as backend:\n"
        "    backend.enqueue([NewJob(id='a', name='n', body=b'')])"
    )
    subprocess.run([sys.executable, "-c", program, redis_url], check=True, timeout=PATIENCE_SECONDS)
    finish(waits)


def test_an_interrupt_ends_all_waits_of_this_backend_and_of_no_other(
    shop: RedisBackend, other: RedisBackend, client: Redis
) -> None:
    mine, others = waiting(shop, client, None, how_many=2), waiting(other, client, None)
    shop.interrupt()
    finish(mine)
    assert not ended(others)
    other.interrupt()
    finish(others)


def test_an_interrupt_reaches_a_wait_on_a_server_that_hangs(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url, socket_timeout=TOO_LONG_SECONDS)
    backend.wait(None, 0.001)
    own_server.pause()
    wait = threading.Thread(target=backend.wait, args=(None, TOO_LONG_SECONDS))
    wait.start()
    eventually(lambda: backend._waiters._waiting)
    backend.interrupt()
    wait.join(PATIENCE_SECONDS)
    assert not wait.is_alive()


def test_a_lost_connection_ends_the_wait_and_the_next_one_works(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url)
    backend.enqueue([new_job()])
    with Redis.from_url(own_server.url) as client:
        waits = waiting(backend, client, ["other"])
    own_server.kill()
    finish(waits)
    backend.wait(["other"], TOO_LONG_SECONDS)  # returns early: there is nobody to ask
    own_server.start()
    backend.wait(None, TOO_LONG_SECONDS)


def test_close_wakes_waiters_and_refuses_new_ones(shop: RedisBackend, client: Redis) -> None:
    waits = waiting(shop, client, None)
    shop.close()
    finish(waits)
    with pytest.raises(BackendUnavailableError, match="closed"):
        shop.wait(None, 1.0)
