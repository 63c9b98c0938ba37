"""What a test of the suite needs, and what is asserted where a backend does not have it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from wg_core.backend import Backend
from wg_core.errors import UnsupportedError
from wg_core.job import JobState, UniqueKey
from wg_core.protocol import CancelJobs, Capability, JobFilter, Retention
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import new_job

Test = TypeVar("Test", bound=Callable[..., None])


def requires(*capabilities: Capability) -> Callable[[Test], Test]:
    """State which capabilities a test is about; a test without it is about the core tier.

    On a backend that declares them all, the test runs. On another one the test asserts instead that the calls of
    what is not declared are refused by name. So no test is ever skipped, and none of a declared capability can be.
    (`blocking`, `multi_process` and `durable` are promises without calls of their own: nothing to refuse.)
    """

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)
        wants_backend = "backend" in signature.parameters

        @functools.wraps(test)
        def run(*, backend: Backend, **fixtures: Any) -> None:
            missing = frozenset(capabilities) - backend.capabilities
            for capability in missing:
                assert_refused(backend, capability)
            if not missing:
                test(**fixtures, **({"backend": backend} if wants_backend else {}))

        if not wants_backend:
            parameter = inspect.Parameter("backend", inspect.Parameter.KEYWORD_ONLY)
            signature = signature.replace(parameters=[*signature.parameters.values(), parameter])
        run.__signature__ = signature  # type: ignore[attr-defined] # pytest reads the fixtures from it
        return run  # type: ignore[return-value] # the same test, asked for by name

    return decorate


def assert_refused(backend: Backend, capability: Capability) -> None:
    """Assert that every call of a capability that is not declared is refused, naming the capability."""
    for call in _CALLS.get(capability, ()):
        with pytest.raises(UnsupportedError, match=capability.value) as refusal:
            call(backend)
        assert refusal.value.capability == capability


_CALLS: dict[Capability, Sequence[Callable[[Backend], object]]] = {
    Capability.INSPECT: (
        lambda backend: backend.get(["a"]),
        lambda backend: backend.find(JobFilter(state=JobState.READY)),
        lambda backend: backend.stats(),
        lambda backend: backend.workers(),
        lambda backend: backend.health(),
    ),
    Capability.ALTER: (
        lambda backend: backend.alter(["a"], CancelJobs()),
        lambda backend: backend.prune(Retention(), 10),
    ),
    Capability.DELAY: (
        lambda backend: backend.enqueue([new_job("a", delay_seconds=60.0)]),
        lambda backend: backend.enqueue([new_job("a", run_at=Clock().ahead(60.0))]),
    ),
    Capability.UNIQUE: (lambda backend: backend.enqueue([new_job("a", unique=UniqueKey(key="k"))]),),
    Capability.PAUSE: (lambda backend: backend.pause("default"), lambda backend: backend.resume("default")),
    Capability.RECORDS: (
        lambda backend: backend.get_record("kind", "key"),
        lambda backend: backend.list_records("kind"),
        lambda backend: backend.set_record("kind", "key", b"{}", expected_version=0),
    ),
    Capability.RESULTS: (lambda backend: backend.enqueue([new_job("a", result_ttl_seconds=60.0)]),),
    Capability.TRANSACTIONAL: (lambda backend: backend.enqueue([new_job("a")], connection=object()),),
}
