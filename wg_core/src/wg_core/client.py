"""The client: sends jobs to one store, and asks about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from msgspec import UNSET

from wg_core import config
from wg_core._payload import encode_named, largest_part
from wg_core._sending import DEFAULT_ENQUEUE_TIMEOUT_SECONDS, send, split
from wg_core.backend import Backend
from wg_core.errors import BackendUnavailableError, ConfigError, PayloadError, UnknownJobError, UnsupportedError
from wg_core.handle import JobHandle, cancel_job
from wg_core.handlers import HandlerRegistry, JobFunction, JobVariant, default_registry
from wg_core.job import EnqueueResult, JobRecord, NewJob
from wg_core.options import JobOptions
from wg_core.outgoing import Job, to_new_job
from wg_core.protocol import Capability
from wg_core.settings import Seconds
from wg_core.validation import DEFAULT_MAX_PAYLOAD_BYTES, check_duration, check_id, check_name, check_whole_number

R = TypeVar("R")


class Client:
    """Sends jobs to one store. Thread-safe; may be made before a fork and used after it, on both sides.

    A send whose answer is lost, or that finds the store away, is repeated under the same job ids, with pauses that
    grow from 50 ms to 1 s, for at most `enqueue_timeout` (default 3 s; 0 never repeats): one job, not two. The last
    try may itself take as long as the backend's own time limits. What holds an at-most-once job is not repeated once
    it may have arrived, because it may have run: AmbiguousResultError is raised at once. Payloads above
    `max_payload_bytes` (default 1 MiB) are refused.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        handlers: HandlerRegistry | None = None,
        enqueue_timeout: Seconds = DEFAULT_ENQUEUE_TIMEOUT_SECONDS,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    ) -> None:
        self._backend = backend
        self._handlers = default_registry if handlers is None else handlers
        self._enqueue_timeout_seconds = check_duration("enqueue_timeout", enqueue_timeout, zero_allowed=True)
        self._max_payload_bytes = check_whole_number("max_payload_bytes", max_payload_bytes, least=1, most=2**31 - 1)
        self._closed = False

    @classmethod
    def connect(
        cls,
        url: str | None = None,
        namespace: str | None = None,
        *,
        enqueue_timeout: Seconds = DEFAULT_ENQUEUE_TIMEOUT_SECONDS,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        **backend_options: Any,
    ) -> Client:
        """Return a client for the URL, without any I/O; what is left out is taken from the configuration.

        Raises ConfigError or UnknownBackendError when the URL, the namespace or an option is wrong.
        """
        backend = config.open_configured_backend(url, namespace, **backend_options)
        return cls(backend, enqueue_timeout=enqueue_timeout, max_payload_bytes=max_payload_bytes)

    @property
    def backend(self) -> Backend:
        """The store itself, for what the client does not offer."""
        return self._backend

    @overload
    def enqueue(self, job: Job[R], *, options: JobOptions | None = None, connection: Any = None) -> JobHandle[R]: ...

    @overload
    def enqueue(self, job: object, *, options: JobOptions | None = None, connection: Any = None) -> JobHandle[Any]: ...

    def enqueue(
        self, job: Job[Any] | object, *, options: JobOptions | None = None, connection: Any = None
    ) -> JobHandle[Any]:
        """Send one job: an unsent `Job`, or an object whose class a handler claims. Blocks for one round trip.

        `options` win over those of the job. With `connection` the job commits or rolls back with the transaction of
        that connection: see `transaction`.

        Raises PayloadError (too large, or no fit), UnknownJobError (no handler claims the class),
        BackendUnavailableError (the store is away, nothing was stored), AmbiguousResultError (it may have been
        stored; sending it again with the same `JobOptions(id=…)` is safe), BackendRejectedError.
        """
        return self._send([self._to_job(job).with_options(options)], connection)[0]

    def enqueue_many(self, jobs: Iterable[Job[Any] | object], *, connection: Any = None) -> list[JobHandle[Any]]:
        """Send many jobs and return their handles in order.

        They go in batches of at most the backend's `max_batch` jobs and 8 MiB. Each batch is stored whole or not at
        all, but not all of them together: when one fails, those before it are stored. With `connection` its
        transaction holds them all together. All jobs are checked before the first batch is sent. Raises as `enqueue`
        does.
        """
        return self._send([self._to_job(job) for job in jobs], connection)

    def schedule(
        self,
        job: Job[R],
        when: timedelta | datetime,
        *,
        options: JobOptions | None = None,
        connection: Any = None,
    ) -> JobHandle[R]:
        """Send one job to be run after a delay by the store's clock, or at a moment with a time zone.

        A moment that has passed means at once. Raises ConfigError for a naive datetime or a negative delay, and as
        `enqueue` does.
        """
        if isinstance(when, timedelta):
            timing = JobOptions(delay=when)
        elif isinstance(when, datetime):
            timing = JobOptions(run_at=when)
        else:
            raise ConfigError(f"schedule takes a timedelta or a datetime with a time zone, got {when!r}")
        merged = timing if options is None else options.merged(timing)
        return self.enqueue(job, options=merged, connection=connection)

    def enqueue_named(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        options: JobOptions | None = None,
        connection: Any = None,
    ) -> JobHandle[Any]:
        """Send one job for a handler whose code is not here; its arguments are checked only when it runs.

        Raises PayloadError with the path of a value that is not JSON, and as `enqueue` does.
        """
        encoded = encode_named(check_name(name), {} if args is None else args)
        return self._send([Job[Any](name, encoded, options or JobOptions())], connection)[0]

    def transaction(self, connection: Any) -> TransactionClient:
        """Return a client whose jobs commit or roll back with the transaction of `connection`. Does no I/O.

        Takes a SQLAlchemy Connection or Session, or a connection of the driver (sqlite3, psycopg, psycopg2, PyMySQL,
        mysqlclient) to the database that holds the jobs. May be used as it is, or as `with client.transaction(…) as
        tx:`, which ends with its block; committing and rolling back stay the caller's in both forms.

        Raises UnsupportedError when the backend cannot join a transaction, ConfigError without a connection.
        """
        if Capability.TRANSACTIONAL not in self._backend.capabilities:
            raise UnsupportedError(
                f"{type(self._backend).__name__} does not support {Capability.TRANSACTIONAL.value!r}: "
                f"its jobs cannot commit together with your data",
                capability=Capability.TRANSACTIONAL.value,
            )
        if connection is None:  # or the jobs would be stored outside of any transaction
            raise ConfigError("transaction takes a connection with the transaction to join, got None")
        return TransactionClient(self, connection)

    def get(self, job_id: str) -> JobRecord | None:
        """Return what the store knows of a job; None when there is none, or it has ended and left no record."""
        records = self._backend.get([check_id(job_id)])
        return records[0] if records else None

    def cancel(self, job_id: str) -> bool:
        """Cancel a job as `JobHandle.cancel` does; False when there is none, or it has ended."""
        return cancel_job(self._backend, check_id(job_id))

    def close(self) -> None:
        """Close the backend and its connections. Idempotent; sending later raises BackendUnavailableError."""
        self._closed = True
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _to_job(self, job: object) -> Job[Any]:
        if isinstance(job, Job):
            return job
        if isinstance(job, JobFunction | JobVariant):
            raise ConfigError(f"enqueue takes a job, got {job!r} itself; write enqueue(….job(arguments))")
        handler = self._handlers.find_for_class(type(job))
        if handler is None:
            raise UnknownJobError(
                f"no handler claims the class {type(job).__qualname__!r}: "
                f"declare @job with one parameter of that class, or import the module that does"
            )
        return handler.job(job)

    def _send(self, jobs: Sequence[Job[Any]], connection: Any) -> list[JobHandle[Any]]:
        if self._closed:
            raise BackendUnavailableError("this client is closed")
        new_jobs = [self._to_new_job(job) for job in jobs]
        results: list[EnqueueResult] = []
        for batch in split(new_jobs, self._backend.max_batch):
            results += self._store(batch, connection)
        return [
            self._handle(job, new_job, result) for job, new_job, result in zip(jobs, new_jobs, results, strict=True)
        ]

    def _to_new_job(self, job: Job[Any]) -> NewJob:
        if len(job.args) > self._max_payload_bytes:
            raise PayloadError(
                f"payload of {job.name!r} may have {self._max_payload_bytes:,} bytes, got {len(job.args):,}"
                f"{largest_part(job.args)}; store the data elsewhere and pass where it is",
                job_name=job.name,
            )
        return to_new_job(job)

    def _store(self, batch: Sequence[NewJob], connection: Any) -> list[EnqueueResult]:
        if connection is not None:  # a failed statement may have ended the caller's transaction: never repeat
            return self._backend.enqueue(batch, connection=connection)
        return send(self._backend, batch, timeout_seconds=self._enqueue_timeout_seconds)

    def _handle(self, job: Job[Any], new_job: NewJob, result: EnqueueResult) -> JobHandle[Any]:
        # An id that we made was never sent before: "it was there" means that a repeat met its own first try.
        is_own_repeat = job.options.id is UNSET and result.id == new_job.id
        return JobHandle(
            self._backend, id=result.id, name=new_job.name, queue=new_job.queue, stored=result.stored or is_own_repeat
        )


class TransactionClient:
    """Sends jobs within the transaction of one connection: they commit or roll back with it.

    Belongs to the thread of its connection. Every send goes into the transaction that is open at that moment, or
    begins one as any other statement of the connection would. As a context manager it neither commits nor rolls back;
    after the block it refuses further use.

    Nothing is ever repeated. Raises as the methods of `Client` do, and besides: ConfigError for a connection that
    cannot be joined (of another database, asynchronous, in autocommit mode), SchemaError when the tables are not
    there, because none are made in a transaction of yours. What the driver raises when a lock, the connection or the
    transaction is lost reaches the caller as it is.
    """

    def __init__(self, client: Client, connection: Any) -> None:
        self._client = client
        self._connection = connection
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True

    @overload
    def enqueue(self, job: Job[R], *, options: JobOptions | None = None) -> JobHandle[R]: ...

    @overload
    def enqueue(self, job: object, *, options: JobOptions | None = None) -> JobHandle[Any]: ...

    def enqueue(self, job: Job[Any] | object, *, options: JobOptions | None = None) -> JobHandle[Any]:
        """Send one job as `Client.enqueue` does, in the transaction."""
        return self._client.enqueue(job, options=options, connection=self._open_connection())

    def enqueue_many(self, jobs: Iterable[Job[Any] | object]) -> list[JobHandle[Any]]:
        """Send many jobs as `Client.enqueue_many` does, in the transaction, which holds them all together."""
        return self._client.enqueue_many(jobs, connection=self._open_connection())

    def schedule(self, job: Job[R], when: timedelta | datetime, *, options: JobOptions | None = None) -> JobHandle[R]:
        """Send one job to be run later as `Client.schedule` does, in the transaction."""
        return self._client.schedule(job, when, options=options, connection=self._open_connection())

    def enqueue_named(
        self, name: str, args: dict[str, Any] | None = None, *, options: JobOptions | None = None
    ) -> JobHandle[Any]:
        """Send one job by the name of its handler as `Client.enqueue_named` does, in the transaction."""
        return self._client.enqueue_named(name, args, options=options, connection=self._open_connection())

    def _open_connection(self) -> Any:
        if self._ended:
            raise ConfigError(
                "this transaction client ended with its block: send jobs inside the block, or call "
                "client.transaction(connection) again"
            )
        return self._connection
