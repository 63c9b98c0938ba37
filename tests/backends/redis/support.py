"""Short words for what the tests do with a backend."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from redis import Redis

from wg_core.history import AttemptRecord
from wg_core.job import NewJob
from wg_core.protocol import WorkerBeat
from wg_redis import RedisBackend

OpenRedis: TypeAlias = Callable[..., RedisBackend]
"""What the fixture `open_redis` gives: open a backend by URL, with options."""

PATIENCE_SECONDS = 60.0


def new_job(job_id: str = "a", **fields: Any) -> NewJob:
    return NewJob(id=job_id, name="send_email", body=b"{}", **fields)


def register(backend: RedisBackend, worker: str = "w", lease_seconds: float = 3600.0) -> str:
    backend.beat([WorkerBeat(worker=worker, lease_seconds=lease_seconds, first=True, info=b"{}")])
    return worker


def failed(attempt: int = 1) -> AttemptRecord:
    return AttemptRecord(attempt=attempt, outcome="retry", worker="w", error_type="ValueError")


def blocked(client: Redis) -> int:
    """How many clients of the whole server are in a blocking command."""
    return int(client.info("clients")["blocked_clients"])


def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fails after a minute."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not come about in time")
