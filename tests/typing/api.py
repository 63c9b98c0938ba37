"""The public API as a typed user writes it: checked by mypy --strict, never run.

Each `type: ignore[code]` is a mistake that a type checker must notice; mypy complains when it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import wg_core
from wg_core import (
    Client,
    CurrentJob,
    HandlerRegistry,
    Job,
    JobError,
    JobFunction,
    JobHandle,
    JobOptions,
    JobState,
    WorkerPool,
    current_job,
    job,
)

wg_core.configure(url="redis://localhost:6379", namespace="myapp")


@job
def tick() -> None: ...


@job(queue="mail", max_retries=5, timeout=60)
def send_email(to: str, subject: str, body: str = "") -> int:
    if not to:
        raise JobError.fatal("invalid address")
    if not subject:
        raise JobError.retryable("not yet", delay=5)
    return len(body)


@job(
    name="reports.build",
    aliases=["build_report"],
    registry=HandlerRegistry(),
    priority=-5,
    retry_delay=timedelta(seconds=2),
    timeout=None,
    at_most_once=True,
    expires_in=timedelta(days=1),
    headers={"team": "billing"},
)
def build(month: datetime, *, pages: list[int]) -> dict[str, int]:
    return {}


@dataclass
class EmailJob:
    to: str
    subject: str
    body: str


@job(queue="mail")
def on_email(email: EmailJob) -> None: ...


assert_type(tick, JobFunction[[], None])
assert_type(send_email("ada", "hello"), int)
assert_type(send_email.job("ada", subject="hello"), Job[int])
assert_type(send_email.enqueue("ada", "hello"), JobHandle[int])
assert_type(send_email.using(delay=3600, priority=5).enqueue("ada", "hello"), JobHandle[int])
assert_type(build.job(datetime.now(UTC), pages=[1]), Job[dict[str, int]])
assert_type(send_email.name, str)
assert_type(send_email.options, JobOptions)

send_email("ada")  # type: ignore[call-arg]
send_email.enqueue("ada")  # type: ignore[call-arg]
send_email.enqueue("ada", 3)  # type: ignore[arg-type]
send_email.job("ada", subjct="hello")  # type: ignore[call-arg]
send_email.using(priority=5).enqueue(1, "hello")  # type: ignore[arg-type]
send_email.using(priorty=5)  # type: ignore[call-arg]
send_email.using(priority="high")  # type: ignore[arg-type]
JobOptions(timeout="60")  # type: ignore[arg-type]
on_email.enqueue("ada")  # type: ignore[arg-type]
job(quue="mail")  # type: ignore[call-overload]

with Client.connect("postgres://localhost/app", namespace="myapp", enqueue_timeout=timedelta(seconds=1)) as client:
    handle = client.enqueue(send_email.job("ada@example.com", subject="Hello"))
    assert_type(handle, JobHandle[int])
    assert_type(handle.id, str)
    assert_type(handle.stored, bool)
    assert_type(handle.state, JobState | None)
    assert_type(handle.cancel(), bool)
    options = JobOptions(max_retries=5, timeout=None, retry_delay=30, run_at=datetime.now(UTC))
    assert_type(client.enqueue(EmailJob("ada", "Hello", "World"), options=options), JobHandle[Any])
    assert_type(client.schedule(send_email.job("ada", "Reminder"), timedelta(hours=1)), JobHandle[int])
    assert_type(client.schedule(send_email.job("ada", "Reminder"), datetime.now(UTC)), JobHandle[int])
    assert_type(client.enqueue_many([tick.job(), send_email.job("ada", "hi")]), list[JobHandle[Any]])
    assert_type(client.enqueue_named("send_email", {"to": "ada"}), JobHandle[Any])
    assert_type(client.transaction(object()).enqueue(send_email.job("ada", "hi")), JobHandle[int])
    assert_type(client.enqueue(send_email.job("ada", "hi"), connection=object()), JobHandle[int])
    assert_type(client.enqueue_named("send_email", connection=object()), JobHandle[Any])
    assert_type(client.schedule(send_email.job("ada", "hi"), timedelta(1), connection=object()), JobHandle[int])
    assert_type(send_email.using(connection=object(), priority=5).enqueue("ada", "hello"), JobHandle[int])
    with client.transaction(object()) as tx:
        assert_type(tx.enqueue(EmailJob("ada", "Hello", "World")), JobHandle[Any])
        assert_type(tx.schedule(send_email.job("ada", "hi"), datetime.now(UTC)), JobHandle[int])
        assert_type(tx.enqueue_many([tick.job()]), list[JobHandle[Any]])
        assert_type(tx.enqueue_named("send_email", {"to": "ada"}), JobHandle[Any])
        tx.commit()  # type: ignore[attr-defined]
    client.schedule(send_email.job("ada", "Reminder"), 3600)  # type: ignore[arg-type]
    client.enqueue_named("send_email", ["ada"])  # type: ignore[arg-type]

with WorkerPool(url="memory:", handlers=[send_email, tick]) as pool:
    send_email.enqueue("ada@example.com", subject="Hello")
    pool.run_until_idle(timeout=5)

assert_type(current_job(), CurrentJob)
