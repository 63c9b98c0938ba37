"""A test of an undeclared capability asserts the refusal; a declared one always runs."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator

import pytest

from wg_core.backend import Backend
from wg_core.memory import MemoryBackend
from wg_core.protocol import Capability
from wg_core.testing.contract._capabilities import requires


@pytest.fixture
def backend() -> Iterator[Backend]:
    with MemoryBackend.open("memory:", f"t{uuid.uuid4().hex[:12]}") as backend:
        yield backend


class LazyBackend(MemoryBackend):
    """Declares nothing, yet pauses when asked."""

    capabilities = frozenset()


def run(test: Callable[..., None], backend: Backend) -> None:
    test(backend=backend)


def test_a_test_of_a_declared_capability_runs(backend: Backend) -> None:
    ran: list[object] = []

    def test() -> None:
        ran.append("without")

    def test_with(backend: Backend) -> None:
        ran.append(backend)

    run(requires(Capability.PAUSE)(test), backend)
    run(requires(Capability.PAUSE, Capability.DELAY)(test_with), backend)
    assert ran == ["without", backend]


def test_a_test_of_an_undeclared_capability_asserts_the_refusal_instead(backend: Backend) -> None:
    def never() -> None:
        raise AssertionError("must not run")

    run(requires(Capability.UNIQUE, Capability.PAUSE)(never), backend)


def test_a_backend_that_does_what_it_does_not_declare_fails() -> None:
    with LazyBackend.open("memory:", "lazy") as lazy, pytest.raises(pytest.fail.Exception):
        run(requires(Capability.PAUSE)(lambda: None), lazy)


def test_the_fixtures_of_a_test_are_still_seen_by_pytest() -> None:
    @requires(Capability.PAUSE)
    def test(put: object, worker: object) -> None:
        """Ask for fixtures."""

    assert list(inspect.signature(test).parameters) == ["put", "worker", "backend"]
