"""Statements about workers: leases, what they hold, and giving them up."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, ZERO, StatementSet
from wg_core.sql.tables import COUNTER_COLUMNS


class Workers(StatementSet):
    """How workers live and die."""

    @cached_property
    def add_worker(self) -> Prepared:
        """Register a worker whose id is not known."""
        columns = ("id", "lease_until", "registered_at", "info")
        return self.prepare(
            self.flavor.insert_ignore(self.tables.workers).values({name: bindparam(name) for name in columns})
        )

    @cached_property
    def renew(self) -> Prepared:
        """Renew a lease unless the worker is gone."""
        workers = self.tables.workers
        return self.prepare(
            update(workers)
            .where(workers.c.id == bindparam("worker"), workers.c.gone == ZERO)
            .values(lease_until=bindparam("until"), info=func.coalesce(bindparam("news"), workers.c.info))
        )

    @cached_property
    def cancels(self) -> Prepared:
        """Return (worker, id, lease_no) of the pending cancels of some workers."""
        running = self.tables.running
        return self.prepare(
            select(running.c.worker, running.c.id, running.c.lease_no).where(
                self.flavor.in_list(running.c.worker, "workers"), running.c.cancel_requested == ONE
            )
        )

    @cached_property
    def paused(self) -> Prepared:
        """Return the paused queues."""
        queues = self.tables.queues
        return self.prepare(select(queues.c.name).where(queues.c.paused == ONE))

    @cached_property
    def held(self) -> Prepared:
        """Return (id, lease_no) of what a worker holds."""
        running = self.tables.running
        return self.prepare(select(running.c.id, running.c.lease_no).where(running.c.worker == bindparam("worker")))

    @cached_property
    def mark_gone(self) -> Prepared:
        """Give up the workers whose lease is over; those that are just doing something are left for the next time."""
        workers = self.tables.workers
        candidate = workers.alias("candidate")
        over = (
            select(candidate.c.id)
            .where(candidate.c.lease_until <= bindparam("now"), candidate.c.gone == ZERO)
            .order_by(candidate.c.id)
            .with_for_update(skip_locked=True)
        )
        return self.prepare(update(workers).where(self.flavor.in_query(workers.c.id, over)).values(gone=ONE))

    @cached_property
    def lock_worker(self) -> Prepared:
        """Wait for what a worker is just doing, and keep it from doing more."""
        workers = self.tables.workers
        return self.prepare(select(workers.c.id).where(workers.c.id == bindparam("worker")).with_for_update())

    @cached_property
    def take_of_worker(self) -> Prepared:
        """Take all that one worker holds."""
        running = self.tables.running
        return self.prepare(self.take_all(running, running.c.worker == bindparam("worker")))

    @cached_property
    def take_of_gone(self) -> Prepared:
        """Take up to `limit` jobs of workers that were given up, the longest dead worker first."""
        running, workers = self.tables.running, self.tables.workers
        held = running.alias("held")
        of_gone = (
            select(held.c.seq)
            .join_from(workers, held, held.c.worker == workers.c.id)
            .where(workers.c.lease_until <= bindparam("now"), workers.c.gone == ONE)
            .order_by(workers.c.lease_until)
            .limit(bindparam("limit"))
            .with_for_update(of=held, skip_locked=True)
        )
        return self.prepare(self.take_all(running, self.flavor.in_query(running.c.seq, of_gone)))

    @cached_property
    def empty_handed(self) -> Prepared:
        """Return the workers that were given up and hold nothing, and lock them."""
        running, workers = self.tables.running, self.tables.workers
        holds_a_job = exists().where(running.c.worker == workers.c.id)
        over = (workers.c.lease_until <= bindparam("now"), workers.c.gone == ONE)
        idle = select(workers.c.id).where(*over, ~holds_a_job).order_by(workers.c.id)
        return self.prepare(idle.with_for_update(skip_locked=True))

    @cached_property
    def forget_worker(self) -> tuple[Prepared, ...]:
        """Fold a worker's counters into those without a worker, and delete what is kept of it."""
        counters, requests, workers = self.tables.counters, self.tables.requests, self.tables.workers
        of_worker = counters.c.worker == bindparam("worker")
        own = counters.alias("own")  # under another name than where it goes: MySQL would call the columns ambiguous
        fold = self.flavor.insert_or_add(counters, COUNTER_COLUMNS).from_select(
            ["queue", "worker", *COUNTER_COLUMNS],
            select(own.c.queue, literal_column("''"), *(own.c[name] for name in COUNTER_COLUMNS)).where(
                own.c.worker == bindparam("worker")
            ),
            include_defaults=False,
        )
        return (
            self.prepare(fold),
            self.prepare(delete(counters).where(of_worker)),
            self.prepare(delete(requests).where(requests.c.worker == bindparam("worker"))),
            self.prepare(delete(workers).where(workers.c.id == bindparam("worker"))),
        )
