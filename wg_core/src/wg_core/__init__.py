"""wg: a job queue for Python on the store you already run."""

from wg_core.client import Client
from wg_core.config import configure
from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    JobCancelled,
    JobError,
    JobTimeout,
    NoCurrentJobError,
    PayloadError,
    ResultNotKeptError,
    UnknownBackendError,
    UnknownJobError,
    WgError,
)
from wg_core.handle import JobHandle
from wg_core.handlers import HandlerRegistry, JobFunction, job
from wg_core.job import JobState
from wg_core.options import JobOptions
from wg_core.outgoing import Job

__all__ = [
    "AmbiguousResultError",
    "BackendError",
    "BackendUnavailableError",
    "Client",
    "ConfigError",
    "HandlerRegistry",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFunction",
    "JobHandle",
    "JobOptions",
    "JobState",
    "JobTimeout",
    "NoCurrentJobError",
    "PayloadError",
    "ResultNotKeptError",
    "UnknownBackendError",
    "UnknownJobError",
    "WgError",
    "configure",
    "job",
]
