"""The conformance suite: what every backend must do, as tests, for our own backends and for those of strangers.

A plug-in author runs it like this (`pip install "wg-core[testing]"`)::

    # tests/test_contract.py
    import pytest
    from wg_core.testing.contract import *  # noqa: F403

    @pytest.fixture
    def backend_url(tmp_path):
        return f"sqlite:{tmp_path / 'jobs.db'}"

The URL's scheme must resolve through the entry-point group `wg.backends`: the suite enters by the same door as
everybody. It may be the same store for all tests, because each test has a namespace of its own. Fixtures to override,
below the import:

* `backend_url`: the store under test (required);
* `backend_options`: keywords for `open_backend` (default: none), such as time limits that the races do not reach on a
  slow machine;
* `residue`: a callable that counts what the store keeps in `namespace`, by kind, such as rows per table or keys.
  Given, the tests of `growth` compare its answers; without it they only run the cycles;
* `connect_as_caller`: a callable that opens a connection of the caller's to the store, for `enqueue(connection=…)`;
  needed where the backend declares `transactional`.

A test is about the core tier, or names with `@requires` the capabilities it is about. Where a backend does not declare
one of them the test asserts instead that its calls are refused by name. Nothing is skipped. Time is handed to the
store as `now=`; no test sleeps.

One theme a module; the numbers of the invariants a module shows are in its docstring.
"""
# ruff: noqa: E402, F403 - the suite is the sum of its themes, imported once asserts are rewritten

import pkgutil

import pytest

# Before the imports, so that a failing assert of the suite shows its values in somebody else's project too.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from wg_core.testing.contract._fixtures import *
from wg_core.testing.contract.alter_races import *
from wg_core.testing.contract.arrival_races import *
from wg_core.testing.contract.at_most_once import *
from wg_core.testing.contract.content import *
from wg_core.testing.contract.counts import *
from wg_core.testing.contract.dead_letters import *
from wg_core.testing.contract.edges import *
from wg_core.testing.contract.enqueue import *
from wg_core.testing.contract.growth import *
from wg_core.testing.contract.inspect_jobs import *
from wg_core.testing.contract.leases import *
from wg_core.testing.contract.life import *
from wg_core.testing.contract.lost_answers import *
from wg_core.testing.contract.order import *
from wg_core.testing.contract.pause import *
from wg_core.testing.contract.process_races import *
from wg_core.testing.contract.report import *
from wg_core.testing.contract.request_races import *
from wg_core.testing.contract.rescue import *
from wg_core.testing.contract.reserve import *
from wg_core.testing.contract.retire import *
from wg_core.testing.contract.retry import *
from wg_core.testing.contract.same_as_memory import *
from wg_core.testing.contract.schedule import *
from wg_core.testing.contract.thread_races import *
from wg_core.testing.contract.transactional import *
from wg_core.testing.contract.waiting import *
from wg_core.testing.contract.worker_races import *

_FIXTURES = [
    "backend",
    "backend_options",
    "caller",
    "child_order",
    "clock",
    "connect_as_caller",
    "far_worker",
    "faulty",
    "in_each_state",
    "instances",
    "namespace",
    "neighbour",
    "new_worker",
    "open_backend",
    "put",
    "reaper",
    "reference",
    "residue",
    "worker",
]
__all__ = [*_FIXTURES, *(name for name in globals() if name.startswith("test_"))]  # noqa: PLE0604 - names all of them
