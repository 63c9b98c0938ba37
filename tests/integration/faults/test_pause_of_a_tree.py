"""A machine that stops and comes back: SIGSTOP of a whole tree past its lease, then SIGCONT."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from audit import at_rest, is_charge
from trees import NAMESPACE, Log, Tree, producing, wait_for
from wg_core import Client
from wg_core.backend import Backend
from wg_core.job import JobState

LEASE = ("--lease", "6", "--heartbeat", "0.5")
"""To be waited for, but no shorter: nobody but the sleeper may lose a lease here, however slow the machine is."""


def test_what_was_given_away_while_the_machine_slept_is_neither_run_nor_reported_by_it(
    store_url: str, backend: Backend, log: Log, start_tree: Callable[..., Tree], tmp_path: Path
) -> None:
    import fault_jobs  # noqa: PLC0415 - reads the log's path from the environment at import

    gate = tmp_path / "gate"
    client = Client(backend)
    sleeper = start_tree(store_url, *LEASE, processes=1, threads=1)
    held = client.enqueue(fault_jobs.hold.job(str(gate)))
    wait_for(lambda: log.of("started"), "the ordinary job running")
    sleeping_pid = log.of("started")[0]["pid"]
    with producing(log, store_url, NAMESPACE, count=20, batch=20, pause=0, prefix="later-"):
        pass
    sleeper.suspend()

    other = start_tree(store_url, *LEASE, processes=1, threads=2)
    wait_for(lambda: len(log.of("started")) >= 22, "the other machine running everything", 60)
    sleeper.resume()
    wait_for(lambda: sleeping_pid not in sleeper.children(), "the sleeper's worker replaced under a new id", 60)
    assert backend.get([held.id])[0].state is JobState.RUNNING, "the stale outcome was accepted"
    gate.touch()
    wait_for(lambda: at_rest(backend), "all jobs settled")
    wait_for(lambda: len([entry for entry in log.of("ended") if entry["id"] == held.id]) >= 1, "the held job's end")

    runs = [entry for entry in log.of("started") if entry["id"] == held.id]
    assert len(runs) == 2, "the pause did not outlive the lease"
    charges = [entry["id"] for entry in log.of("started") if entry["id"] != held.id and is_charge(entry["id"])]
    assert len(charges) == len(set(charges)), "an at-most-once job started twice"
    ran_by_sleeper = [entry for entry in log.of("started") if entry["pid"] == sleeping_pid and entry["id"] != held.id]
    assert not ran_by_sleeper, "the old process ran jobs that had been given away"
    other.process.send_signal(signal.SIGTERM)
    assert other.wait() == 0
