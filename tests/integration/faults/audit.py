"""What must be true at the end, whatever was killed; computed from the log and the store, never from wg's own words."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from trees import Log
from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import JobFilter, StatsLevel


@dataclass(frozen=True)
class Audit:
    """The facts of one run."""

    enqueued: frozenset[str]
    finished: frozenset[str]
    dead: frozenset[str]
    interrupted: int
    """Starts whose process was killed before it wrote the end."""
    unmatched: tuple[str, ...]
    """Jobs started again although nobody killed the process of the start before."""

    @property
    def lost(self) -> frozenset[str]:
        return self.enqueued - self.finished - self.dead


def audit(log: Log, backend: Backend, killed: Collection[int]) -> Audit:
    """Compare what was enqueued with what ran, and every repeated start with the kill that explains it."""
    starts: dict[str, list[dict[str, object]]] = defaultdict(list)
    for entry in log.of("started"):
        starts[entry["id"]].append(entry)
    unmatched = [
        f"{job_id}: {before} then {after}"
        for job_id, entries in starts.items()
        for before, after in itertools.pairwise(entries)
        if before["pid"] not in killed
    ]
    return Audit(
        enqueued=frozenset(log.enqueued()),
        finished=frozenset(entry["id"] for entry in log.of("ended")),
        dead=frozenset(dead_ids(backend)),
        interrupted=interrupted(log, killed),
        unmatched=tuple(unmatched),
    )


def interrupted(log: Log, killed: Collection[int]) -> int:
    """Return how many handlers were running in a process when it was killed."""
    ended = {(entry["id"], entry["lease_no"]) for entry in log.of("ended")}
    return sum(entry["pid"] in killed and (entry["id"], entry["lease_no"]) not in ended for entry in log.of("started"))


def dead_ids(backend: Backend) -> set[str]:
    """Return the ids of all dead letters."""
    ids: set[str] = set()
    cursor = None
    while True:
        page = backend.find(JobFilter(state=JobState.DEAD), cursor=cursor, limit=500)
        ids.update(record.id for record in page.jobs)
        cursor = page.cursor
        if cursor is None:
            return ids


def at_rest(backend: Backend) -> bool:
    """Whether nothing waits, is scheduled, retries or runs."""
    stats = backend.stats(StatsLevel.CHEAP)
    return not (stats.ready or stats.scheduled or stats.retry or stats.running)


def is_charge(job_id: str) -> bool:
    """Whether the producer made this one an at-most-once job (every tenth of a batch of a multiple of ten)."""
    return int(job_id.rpartition("-")[2]) % 10 == 0
