"""wg: a job queue for Python on the store you already run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from wg_core.context import CurrentJob, current_job
    from wg_core.worker import WorkerPool

__all__ = [
    "AmbiguousResultError",
    "BackendError",
    "BackendUnavailableError",
    "Client",
    "ConfigError",
    "CurrentJob",
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
    "WorkerPool",
    "configure",
    "current_job",
    "job",
]

_WORKER_SIDE = {
    "CurrentJob": "wg_core.context",
    "WorkerPool": "wg_core.worker",
    "current_job": "wg_core.context",
}


def __getattr__(name: str) -> Any:
    """Import the worker's side when it is first asked for: a web process that only enqueues never pays for it."""
    module = _WORKER_SIDE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value
