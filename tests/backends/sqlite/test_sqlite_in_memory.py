"""`sqlite::memory:`: one store per URL and namespace within the process."""

from __future__ import annotations

import threading

import pytest

from tests.backends.sqlite.support import PATIENCE_SECONDS, OpenSQLite, new_job
from wg_core.errors import BackendUnavailableError
from wg_core.protocol import Capability

MEMORY = "sqlite::memory:"


def test_backends_on_one_namespace_share_their_jobs(open_sqlite: OpenSQLite, fresh_namespace: str) -> None:
    open_sqlite(MEMORY, fresh_namespace).enqueue([new_job("a")])
    assert open_sqlite(MEMORY, fresh_namespace).stats().ready == 1


def test_other_namespaces_and_other_options_are_other_stores(open_sqlite: OpenSQLite, fresh_namespace: str) -> None:
    open_sqlite(MEMORY, fresh_namespace).enqueue([new_job("a")])
    assert open_sqlite(MEMORY, f"{fresh_namespace}_other").stats().ready == 0
    assert open_sqlite(f"{MEMORY}?cache_size=99", fresh_namespace).stats().ready == 0


def test_jobs_stay_when_every_backend_is_closed(open_sqlite: OpenSQLite, fresh_namespace: str) -> None:
    first = open_sqlite(MEMORY, fresh_namespace)
    first.enqueue([new_job("a")])
    first.close()
    with pytest.raises(BackendUnavailableError, match="was closed"):
        first.stats()
    assert open_sqlite(MEMORY, fresh_namespace).stats().ready == 1


def test_a_waiter_hears_of_a_job_of_another_backend_without_polling(
    open_sqlite: OpenSQLite, fresh_namespace: str
) -> None:
    waiting, other = open_sqlite(MEMORY, fresh_namespace), open_sqlite(MEMORY, fresh_namespace)
    waiting.migrate()
    thread = threading.Thread(target=waiting.wait, args=(None, PATIENCE_SECONDS), daemon=True)
    thread.start()
    other.enqueue([new_job("a")])
    thread.join(PATIENCE_SECONDS / 2)
    assert not thread.is_alive()


def test_it_is_neither_durable_nor_for_several_processes_nor_in_a_transaction(open_sqlite: OpenSQLite) -> None:
    missing = {Capability.MULTI_PROCESS, Capability.DURABLE, Capability.TRANSACTIONAL}
    assert open_sqlite().capabilities - open_sqlite(MEMORY).capabilities == missing
