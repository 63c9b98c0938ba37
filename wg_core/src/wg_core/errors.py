"""The error tree of wg.

::

    WgError
    ├── ConfigError (also ValueError)      a setting, URL or definition is wrong; says what to write instead
    ├── UnknownBackendError                no installed distribution serves the URL's scheme
    ├── UnknownJobError                    no such job in the store, or no handler of that name here
    ├── PayloadError (also ValueError)     the arguments of a job cannot be stored; names the offending value
    ├── NoCurrentJobError                  current_job() outside a handler
    ├── ResultNotKeptError                 result() of a job that keeps none
    ├── JobTimeout (also TimeoutError)     raised inside a handler whose time is over
    ├── JobCancelled                       raised inside a handler that asked whether it should go on
    ├── JobError                           raised by a handler: retryable (the default) or fatal
    └── BackendError                       the driver's error is __cause__
        ├── BackendUnavailableError        nothing happened; the same call may work later
        ├── AmbiguousResultError           it may have happened; repeat with the same request number or ids
        ├── BackendRejectedError           permanent: your input, your rights
        │   └── UnsupportedError           this backend does not declare the capability
        ├── SchemaError                    missing, older or newer than this version; says what to run
        └── LeaseLostError                 the worker or the job is no longer ours

Messages say what, which, expected and got, and what to do. Facts are attributes. Every error survives pickling.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any


class WgError(Exception):
    """Base of every error that wg raises; keyword arguments become attributes."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)  # BaseException pickles args and __dict__, so the facts travel


class ConfigError(WgError, ValueError):
    """A setting, a URL or a job definition is wrong."""


class UnknownBackendError(WgError):
    """No installed distribution serves this URL scheme."""

    scheme: str


class UnknownJobError(WgError):
    """No job with this id in the store, or no handler with this name in this process."""


class PayloadError(WgError, ValueError):
    """The arguments of a job cannot be stored as JSON or do not fit its handler."""


class NoCurrentJobError(WgError):
    """`current_job()` was called outside a running handler."""


class ResultNotKeptError(WgError):
    """The job was enqueued without `result_ttl`, so there is no result to wait for."""


class JobTimeout(WgError, TimeoutError):  # noqa: N818 - the field's own word for it
    """Raised inside a handler whose time is over."""


class JobCancelled(WgError):  # noqa: N818 - an event, as concurrent.futures.CancelledError is
    """Raised by `current_job().check()` after the job was cancelled or its lease was lost."""


class JobError(WgError):
    """Raised by a handler to say how its failure is to be treated.

    `JobError.retryable(message, delay=None)` asks for another attempt (after `delay` seconds instead of the
    computed backoff); `JobError.fatal(message)` sends the job straight to the dead letters. Any other exception
    is treated as retryable.
    """

    is_fatal: bool = False
    delay_seconds: float | None = None

    @classmethod
    def retryable(cls, message: str = "", *, delay: float | timedelta | None = None) -> JobError:
        """Return an error that asks for another attempt, `delay` (seconds or a timedelta) from now if given."""
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        return cls(message, is_fatal=False, delay_seconds=seconds)

    @classmethod
    def fatal(cls, message: str = "") -> JobError:
        """Return an error that ends the job in the dead letters at once."""
        return cls(message, is_fatal=True)


class BackendError(WgError):
    """The store said no, or nothing; the driver's own error is `__cause__`."""


class BackendUnavailableError(BackendError):
    """The store could not be reached and nothing happened; the same call may work later."""


class AmbiguousResultError(BackendError):
    """The answer was lost: it may have happened. Repeat with the same request number, or the same job ids."""


class BackendRejectedError(BackendError):
    """The store refused for good: the input or the rights are wrong, and repeating will not help."""


class UnsupportedError(BackendRejectedError):
    """This backend does not declare the capability that the call needs."""

    capability: str


class SchemaError(BackendError):
    """The tables or keys are missing, or older or newer than this version can use.

    Where they may not be made from here, `statements` holds what somebody else has to run.
    """

    statements: tuple[str, ...] = ()


class LeaseLostError(BackendError):
    """The worker has no live lease, so it may not reserve jobs."""

    worker: str
