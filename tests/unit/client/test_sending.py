"""Jobs sent through a client."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from wg_core import (
    AmbiguousResultError,
    BackendUnavailableError,
    Client,
    ConfigError,
    HandlerRegistry,
    Job,
    JobFunction,
    JobOptions,
    JobState,
    PayloadError,
    UnknownJobError,
    _sending,
    job,
)
from wg_core._sending import MAX_BATCH_BYTES, split
from wg_core.config import use
from wg_core.envelope import Envelope, decode_envelope
from wg_core.errors import BackendRejectedError, UnsupportedError
from wg_core.job import EnqueueResult, JobRecord, NewJob, Timestamp
from wg_core.memory import MemoryBackend
from wg_core.protocol import Capability, JobFilter
from wg_core.registry import open_backend
from wg_core.testing.faults import FaultyBackend


@dataclass
class Parcel:
    weight: float


@pytest.fixture
def send(registry: HandlerRegistry) -> JobFunction[[str, int], None]:
    @job(queue="mail", max_retries=5, timeout=60, registry=registry)
    def send(to: str, copies: int = 1) -> None: ...

    return send


def record_of(client: Client, job_id: str) -> JobRecord:
    record = client.get(job_id)
    assert record is not None
    return record


def envelope_of(client: Client, job_id: str) -> Envelope:
    return decode_envelope(record_of(client, job_id).body)


def ready(store: FaultyBackend, queue: str = "mail") -> list[JobRecord]:
    return list(store.find(JobFilter(state=JobState.READY, queue=queue), limit=10_000).jobs)


# ---------------------------------------------------------------------- one job


def test_a_job_is_stored_with_the_options_of_its_handler(client: Client, send: JobFunction[..., None]) -> None:
    handle = client.enqueue(send.job("ada", copies=2))
    record = record_of(client, handle.id)
    assert (record.name, record.queue, record.max_retries, record.priority) == ("send", "mail", 5, 0)
    assert (record.state, record.at_most_once, record.expires_at) == (JobState.READY, False, None)
    envelope = envelope_of(client, handle.id)
    assert bytes(envelope.args) == b'{"to":"ada","copies":2}'
    assert (envelope.timeout, envelope.retry_delay, envelope.headers) == (60.0, 10.0, {})
    assert uuid.UUID(handle.id).version == 7


def test_the_options_of_the_call_win(client: Client, send: JobFunction[..., None]) -> None:
    options = JobOptions(queue="fast", timeout=None, retry_delay=1, at_most_once=True, headers={"trace": "1"})
    handle = client.enqueue(send.job("ada"), options=options)
    record, envelope = record_of(client, handle.id), envelope_of(client, handle.id)
    assert (record.queue, record.max_retries, record.at_most_once) == ("fast", 5, True)
    assert (envelope.timeout, envelope.retry_delay, envelope.headers) == (None, 1.0, {"trace": "1"})
    assert handle.queue == "fast"


def test_a_job_that_says_nothing_has_the_documented_defaults(client: Client) -> None:
    record = record_of(client, client.enqueue_named("anything").id)
    envelope = decode_envelope(record.body)
    assert (record.queue, record.priority, record.max_retries) == ("default", 0, 3)
    assert (envelope.timeout, envelope.retry_delay, bytes(envelope.args)) == (300.0, 10.0, b"{}")


def test_an_object_is_sent_to_the_handler_that_claims_its_class(client: Client, registry: HandlerRegistry) -> None:
    @job(queue="post", registry=registry)
    def weigh(parcel: Parcel) -> None: ...

    handle = client.enqueue(Parcel(1.5), options=JobOptions(priority=3))
    record = record_of(client, handle.id)
    assert (record.name, record.queue, record.priority) == ("weigh", "post", 3)
    assert bytes(envelope_of(client, handle.id).args) == b'{"parcel":{"weight":1.5}}'


def test_an_object_whose_class_nobody_claims_is_refused(client: Client) -> None:
    with pytest.raises(UnknownJobError, match="no handler claims the class 'Parcel': declare @job"):
        client.enqueue(Parcel(1.5))


def test_a_handler_in_place_of_a_job_is_refused_with_what_to_write(
    client: Client, send: JobFunction[..., None]
) -> None:
    for mistaken in (send, send.using(priority=1)):
        with pytest.raises(ConfigError, match=r"enqueue takes a job.*write enqueue\(….job\(arguments\)\)"):
            client.enqueue(mistaken)


def test_an_unsent_job_may_be_sent_more_than_once(client: Client, send: JobFunction[..., None]) -> None:
    unsent = send.job("ada")
    assert client.enqueue(unsent).id != client.enqueue(unsent).id


def test_an_unsent_job_survives_pickling(send: JobFunction[..., None]) -> None:
    unsent = send.using(delay=3).job("ada")
    assert pickle.loads(pickle.dumps(unsent)) == unsent


def test_a_second_job_of_the_same_id_is_the_same_job(client: Client, send: JobFunction[..., None]) -> None:
    first = client.enqueue(send.job("ada"), options=JobOptions(id="order-7"))
    second = client.enqueue(send.job("bob"), options=JobOptions(id="order-7"))
    assert (first.stored, second.stored) == (True, False)
    assert (first.id, second.id) == ("order-7", "order-7")
    assert bytes(envelope_of(client, "order-7").args) == b'{"to":"ada"}'


def test_a_payload_that_is_too_large_names_its_largest_part(store: FaultyBackend) -> None:
    client = Client(store, max_payload_bytes=1_000)
    with pytest.raises(PayloadError) as caught:
        client.enqueue_named("send", {"to": "ada", "body": "x" * 2_000})
    assert "payload of 'send' may have 1,000 bytes, got 2,022 ($.body has 2,002)" in str(caught.value)
    client.enqueue_named("send", {"b": "x" * (1_000 - len('{"b":""}'))})
    assert store.calls["enqueue"] == 1


@pytest.mark.parametrize("name", ["", "x" * 201, None, "a\nb"])
def test_a_name_that_no_store_would_take_is_refused(client: Client, name: Any) -> None:
    with pytest.raises(ConfigError, match="a job name"):
        client.enqueue_named(name, {})


def test_legal_names_and_payloads_come_back_as_they_were(client: Client) -> None:
    text = "größe:日本 %s 'q' \"d\" 🦜 \\ \u2028"
    handle = client.enqueue_named(text, {text: [text, text * 1_000]}, options=JobOptions(queue=text))
    record = record_of(client, handle.id)
    assert (record.name, record.queue) == (text, text)


# ---------------------------------------------------------------------- later


def test_a_job_may_be_scheduled_after_a_delay_by_the_clock_of_the_store(
    client: Client, send: JobFunction[..., None]
) -> None:
    record = record_of(client, client.schedule(send.job("ada"), timedelta(hours=1)).id)
    assert record.state == JobState.SCHEDULED
    assert record.run_at == record.enqueued_at + 3_600_000


def test_a_job_may_be_scheduled_at_a_moment_in_any_zone(client: Client, send: JobFunction[..., None]) -> None:
    moment = datetime.fromisoformat("2100-06-01T12:00:00+02:00")
    record = record_of(client, client.schedule(send.job("ada"), moment, options=JobOptions(priority=7)).id)
    assert record.run_at == int(moment.timestamp() * 1000)
    assert record.priority == 7


def test_a_moment_that_has_passed_means_at_once(client: Client, send: JobFunction[..., None]) -> None:
    handle = client.schedule(send.job("ada"), datetime(2020, 1, 1, tzinfo=UTC))
    assert handle.state == JobState.READY


def test_the_time_of_schedule_replaces_that_of_the_job(client: Client, send: JobFunction[..., None]) -> None:
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    handle = client.schedule(send.using(delay=5).job("ada"), moment, options=JobOptions(delay=7))
    assert record_of(client, handle.id).run_at == int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (datetime(2100, 1, 1), "run_at must have a time zone"),  # noqa: DTZ001 - the mistake under test
        (timedelta(seconds=-1), "delay must be zero or more"),
        (3600, "schedule takes a timedelta or a datetime with a time zone, got 3600"),
    ],
)
def test_a_time_that_could_be_misread_is_refused(
    when: Any, expected: str, client: Client, send: JobFunction[..., None]
) -> None:
    with pytest.raises(ConfigError, match=expected):
        client.schedule(send.job("ada"), when)


# ---------------------------------------------------------------------- many jobs


def test_many_jobs_are_stored_in_order_and_in_batches(
    client: Client, store: FaultyBackend, send: JobFunction[..., None]
) -> None:
    count = 2 * store.max_batch + 1
    handles = client.enqueue_many(send.job(str(number)) for number in range(count))
    assert store.calls["enqueue"] == 3
    assert all(handle.stored for handle in handles)
    assert [record.id for record in ready(store)] == [handle.id for handle in handles]


def test_no_jobs_are_no_request(client: Client, store: FaultyBackend) -> None:
    assert client.enqueue_many([]) == []
    assert store.calls["enqueue"] == 0


def test_jobs_and_objects_may_be_mixed(client: Client, registry: HandlerRegistry, send: JobFunction[..., None]) -> None:
    @job(registry=registry)
    def weigh(parcel: Parcel) -> None: ...

    handles = client.enqueue_many([send.job("ada"), Parcel(2.0)])
    assert [handle.name for handle in handles] == ["send", "weigh"]


def test_nothing_is_sent_when_one_of_many_is_wrong(
    client: Client, store: FaultyBackend, send: JobFunction[..., None]
) -> None:
    jobs: list[object] = [send.job(str(number)) for number in range(store.max_batch)]
    with pytest.raises(UnknownJobError):
        client.enqueue_many([*jobs, Parcel(1.0)])
    assert ready(store) == []


def test_of_equal_ids_in_one_batch_the_first_wins(client: Client, send: JobFunction[..., None]) -> None:
    twice = [send.using(id="one").job("ada"), send.using(id="one").job("bob")]
    assert [handle.stored for handle in client.enqueue_many(twice)] == [True, False]


def test_large_jobs_are_sent_in_smaller_batches() -> None:
    sizes = [MAX_BATCH_BYTES // 2, MAX_BATCH_BYTES // 2, 1, MAX_BATCH_BYTES + 1, 1, 1]
    jobs = [NewJob(id=str(number), name="x", body=b"x" * size) for number, size in enumerate(sizes)]
    batches = [[new_job.id for new_job in batch] for batch in split(jobs, 1_000)]
    assert batches == [["0", "1"], ["2"], ["3"], ["4", "5"]]


# ---------------------------------------------------------------------- a store that stumbles


def test_a_lost_answer_gives_one_job_and_not_two(
    client: Client, store: FaultyBackend, send: JobFunction[..., None]
) -> None:
    store.lose_answer("enqueue", times=2)
    handle = client.enqueue(send.job("ada"))
    assert store.hits["enqueue"] == 2
    assert handle.stored
    assert [record.id for record in ready(store)] == [handle.id]


def test_a_lost_answer_of_an_id_of_ones_own_is_told_as_it_is(
    client: Client, store: FaultyBackend, send: JobFunction[..., None]
) -> None:
    store.lose_answer("enqueue")
    handle = client.enqueue(send.job("ada"), options=JobOptions(id="mine"))
    assert store.hits["enqueue"] == 1
    assert not handle.stored, "whether it was there before or by our first try, nobody knows"
    assert handle.state == JobState.READY


def test_only_what_is_sent_for_the_first_time_is_said_to_be_new(send: JobFunction[..., None]) -> None:
    class Recorder(MemoryBackend):
        said: ClassVar[list[list[bool]]] = []

        def enqueue(
            self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
        ) -> list[EnqueueResult]:
            self.said.append([new_job.id_is_new for new_job in jobs])
            return super().enqueue(jobs, now=now)

    with FaultyBackend(Recorder.open("memory:recorder", "wg")) as backend:
        backend.lose_answer("enqueue")
        client = Client(backend, enqueue_timeout=30)
        client.enqueue_many([send.job("ada"), send.job("bob").with_options(JobOptions(id="mine"))])
        client.enqueue(send.job("ada"))
        # At a moment that passes between two tries they would go to different tables, where they cannot meet.
        client.schedule(send.job("ada"), datetime(2026, 1, 1, tzinfo=UTC))
    assert Recorder.said == [[True, False], [False, False], [True], [False]]


def test_a_store_that_is_away_for_a_moment_is_asked_again(
    client: Client, store: FaultyBackend, send: JobFunction[..., None]
) -> None:
    store.unavailable("enqueue", times=3)
    assert client.enqueue(send.job("ada")).state == JobState.READY
    assert store.hits["enqueue"] == 3


@pytest.fixture
def one_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first repeat follows at once, the second would come after the enqueue timeout, however slow the machine."""
    monkeypatch.setattr(_sending, "_pauses", lambda: iter([0.0, math.inf]))


@pytest.mark.usefixtures("one_repeat")
def test_a_store_that_stays_away_is_given_up(client: Client, store: FaultyBackend) -> None:
    store.unavailable("enqueue", times=None)
    with pytest.raises(BackendUnavailableError):
        client.enqueue_named("x")
    assert store.hits["enqueue"] == 2


def test_the_pauses_between_tries_grow_and_are_bounded() -> None:
    pauses = list(itertools.islice(_sending._pauses(), 2_000))
    assert 0.025 <= pauses[0] <= 0.05
    assert all(0.5 <= pause <= 1.0 for pause in pauses[5:])


def test_without_an_enqueue_timeout_nothing_is_repeated(store: FaultyBackend) -> None:
    client = Client(store, enqueue_timeout=0)
    store.unavailable("enqueue", times=None)
    with pytest.raises(BackendUnavailableError):
        client.enqueue_named("x")
    assert store.hits["enqueue"] == 1


@pytest.mark.usefixtures("one_repeat")
def test_after_an_ambiguous_try_nothing_happened_is_never_claimed(client: Client, store: FaultyBackend) -> None:
    store.lose_answer("enqueue")
    store.unavailable("enqueue", times=None)
    with pytest.raises(AmbiguousResultError, match="may have been stored by an earlier try"):
        client.enqueue_named("x", options=JobOptions(queue="mail"))
    assert len(ready(store)) == 1


def test_an_at_most_once_job_is_not_sent_again_when_it_may_have_arrived(client: Client, store: FaultyBackend) -> None:
    store.unavailable("enqueue")
    store.lose_answer("enqueue")
    with pytest.raises(AmbiguousResultError):
        client.enqueue_named("x", options=JobOptions(queue="mail", at_most_once=True))
    assert store.calls["enqueue"] == 2, "repeated while nothing had happened, and not after that"
    assert len(ready(store)) == 1


def test_a_refusal_is_not_repeated() -> None:
    class Refusing(MemoryBackend):
        calls = 0

        def enqueue(
            self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
        ) -> list[EnqueueResult]:
            self.calls += 1
            raise BackendRejectedError("no right to write")

    with Refusing.open("memory:refusing", "wg") as backend:
        with pytest.raises(BackendRejectedError, match="no right to write"):
            Client(backend).enqueue_named("x")
        assert backend.calls == 1


def test_a_closed_client_says_so_at_once(store: FaultyBackend) -> None:
    with Client(store, enqueue_timeout=60) as client:
        pass
    client.close()
    with pytest.raises(BackendUnavailableError, match="this client is closed"):
        client.enqueue_named("x")


# ---------------------------------------------------------------------- transactions


class Ledger(MemoryBackend):
    """A memory store that can keep jobs back until a list of the caller's is committed."""

    capabilities: ClassVar[frozenset[Capability]] = MemoryBackend.capabilities | {Capability.TRANSACTIONAL}

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        if connection is None:
            return super().enqueue(jobs, now=now)
        connection.extend(jobs)
        return [EnqueueResult(new_job.id, stored=True) for new_job in jobs]


def test_a_store_that_cannot_join_a_transaction_says_so_by_name(client: Client, send: JobFunction[..., None]) -> None:
    with pytest.raises(UnsupportedError, match="does not support 'transactional'") as caught:
        client.transaction(object())
    assert caught.value.capability == "transactional"


def test_jobs_of_a_transaction_are_stored_when_it_commits(send: JobFunction[..., None]) -> None:
    with Client(Ledger.open("memory:ledger", "wg")) as client:
        connection: list[NewJob] = []
        transaction = client.transaction(connection)
        handles = [
            transaction.enqueue(send.job("ada")),
            *transaction.enqueue_many([send.job("bob")]),
            client.enqueue(send.job("eve"), connection=connection),
            transaction.enqueue_named("send"),
            client.enqueue_named("send", connection=connection),
        ]
        later = [
            transaction.schedule(send.job("ada"), timedelta(hours=1)),
            client.schedule(send.job("ada"), timedelta(hours=1), connection=connection),
        ]
        assert [client.get(handle.id) for handle in handles + later] == [None] * 7
        client.backend.enqueue(connection)
        assert [handle.state for handle in handles] == [JobState.READY] * 5
        assert [handle.state for handle in later] == [JobState.SCHEDULED] * 2


def test_a_handler_that_uses_a_connection_sends_through_it(send: JobFunction[..., None]) -> None:
    with Client.connect("memory:using") as plain, Client(Ledger.open("memory:using", "wg")) as client, use(client):
        connection: list[NewJob] = []
        send.using(connection=connection).enqueue("ada")
        assert [new_job.name for new_job in connection] == [send.name]
        assert ready(plain.backend) == []


def test_the_client_of_a_transaction_ends_with_its_block(send: JobFunction[..., None]) -> None:
    with Client(Ledger.open("memory:block", "wg")) as client:
        connection: list[NewJob] = []
        with client.transaction(connection) as tx:
            tx.enqueue(send.job("ada"))
        for late in (
            lambda: tx.enqueue(send.job("bob")),
            lambda: tx.enqueue_many([send.job("bob")]),
            lambda: tx.schedule(send.job("bob"), timedelta(1)),
            lambda: tx.enqueue_named("send"),
        ):
            with pytest.raises(ConfigError, match="ended with its block"):
                late()
        assert len(connection) == 1


def test_a_transaction_needs_a_connection_because_none_would_be_no_transaction() -> None:
    with Client(Ledger.open("memory:none", "wg")) as client, pytest.raises(ConfigError, match="got None"):
        client.transaction(None)


def test_a_send_within_a_transaction_is_never_repeated(store: FaultyBackend) -> None:
    client = Client(store, enqueue_timeout=60)
    store.unavailable("enqueue", times=None)
    with pytest.raises(BackendUnavailableError):
        client.enqueue(Job("x", b"{}"), connection=object())
    assert store.hits["enqueue"] == 1


# ---------------------------------------------------------------------- threads and forks


def test_many_threads_may_share_a_client(client: Client, store: FaultyBackend, send: JobFunction[..., None]) -> None:
    start = threading.Barrier(8)

    def produce(producer: int) -> None:
        start.wait(timeout=10)
        for number in range(50):
            client.enqueue(send.job(f"{producer}-{number}"))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(produce, producer) for producer in range(8)]:
            future.result()
    assert len({record.id for record in ready(store)}) == 400


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # whatever other threads there are
def test_a_client_made_before_a_fork_works_in_the_child() -> None:
    with Client(open_backend("memory:forked")) as client:
        client.enqueue_named("of the parent")
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if client.enqueue_named("of the child").state == JobState.READY else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
