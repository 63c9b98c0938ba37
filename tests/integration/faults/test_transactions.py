"""A thousand transactions that end as they like: in the end there is a job for each row, and a row for each job."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import buyer
from trees import HERE, NAMESPACE
from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import JobFilter

TRANSACTIONS = 1_000
WAYS = {
    "sqlite": ("sqlite3", "sqlite"),  # more only wait for each other
    "postgres": ("psycopg", "psycopg2", "postgresql+psycopg", "postgresql+psycopg2"),
    "mysql": ("PyMySQL", "mysqlclient", "mysql+pymysql", "mysql+mysqldb"),
}
LOCK = {"postgres": "LOCK TABLE orders IN SHARE MODE", "mysql": "LOCK TABLES orders READ"}
"""Waits for the commits of buyers that are dead: their servers' ends may still be at it."""
FEWEST = {"committed": 250, "rolled back": 150} | dict.fromkeys(buyer.ENDS[2:], 20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store_url", WAYS, indirect=True)
def test_stored_jobs_equal_committed_rows_whatever_becomes_of_the_transactions(
    store_url: str, backend: Backend, tmp_path: Path
) -> None:
    backend.migrate()
    own = buyer.connect(store_url, WAYS[store_url.partition(":")[0]][0])
    own.cursor().execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    own.commit()

    ends = run_buyers(store_url, tmp_path)
    if lock := LOCK.get(store_url.partition(":")[0]):
        own.cursor().execute(lock)
    rows, jobs = rows_of(own), [*orders_of(backend, JobState.READY), *orders_of(backend, JobState.SCHEDULED)]
    own.close()

    assert sorted(jobs) == rows
    happened = Counter(end.partition(":")[0] for end in ends.values())
    assert happened.keys() <= {*FEWEST, "failed"}
    assert all(happened[end] >= fewest for end, fewest in FEWEST.items()), f"not each end happened: {happened}"
    assert happened["failed"] <= TRANSACTIONS // 20, [end for end in ends.values() if end.startswith("failed")]
    assert {number for number, end in ends.items() if end == "committed"} <= set(rows)
    surely_not = {"rolled back", "failed", "killed after the row", "killed after the job"}
    assert not {number for number, end in ends.items() if end.partition(":")[0] in surely_not} & set(rows)


def run_buyers(url: str, folder: Path) -> dict[int, str]:
    """Let four programs make all transactions at once; return what became of each, by number."""
    ways = WAYS[url.partition(":")[0]]
    share = TRANSACTIONS // len(ways)
    logs = [folder / f"buyer-{place}.log" for place in range(len(ways))]
    programs = []
    for place, (way, log) in enumerate(zip(ways, logs, strict=True)):
        log.touch()
        command = [sys.executable, "buyer.py", url, NAMESPACE, way, place * share, share, place, log]
        programs.append(subprocess.Popen([str(word) for word in command], cwd=HERE, stderr=subprocess.PIPE, text=True))
    for program in programs:
        _, errors = program.communicate(timeout=500)
        assert program.returncode == 0, errors
    ends = [line.split("\t") for log in logs for line in log.read_text().splitlines()]
    assert len(ends) == TRANSACTIONS
    return {int(number): end for number, end in ends}


def rows_of(connection: Any) -> list[int]:
    """Return what is in the table of the buyers."""
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM orders ORDER BY id")
    return [number for (number,) in cursor.fetchall()]


def orders_of(backend: Backend, state: JobState) -> list[int]:
    """Return the order that each stored job is about."""
    orders: list[int] = []
    cursor = None
    while True:
        page = backend.find(JobFilter(state=state), cursor=cursor, limit=500)
        orders += [msgspec.json.decode(record.body)["args"]["order"] for record in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return orders
