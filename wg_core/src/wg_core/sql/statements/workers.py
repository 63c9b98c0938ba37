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
from wg_core.sql.statements.base import ONE, ZERO, StatementSet, Take
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
    def known_workers(self) -> Prepared:
        """Return which of some workers are known and not gone."""
        workers = self.tables.workers
        return self.prepare(
            select(workers.c.id).where(self.flavor.in_list(workers.c.id, "workers"), workers.c.gone == ZERO)
        )

    @cached_property
    def free_workers(self) -> Prepared:
        """Return which of some workers' rows nobody keeps from being updated, and lock them."""
        workers = self.tables.workers
        some = select(workers.c.id).where(self.flavor.in_list(workers.c.id, "workers")).order_by(workers.c.id)
        return self.prepare(some.with_for_update(skip_locked=True, key_share=True))

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
    def lock_expired(self) -> Prepared:
        """Return the workers whose lease is over and lock them; those that are just doing something are left out."""
        workers = self.tables.workers
        over = (
            select(workers.c.id)
            .where(workers.c.lease_until <= bindparam("now"), workers.c.gone == ZERO)
            .order_by(workers.c.lease_until)
            .with_for_update(skip_locked=True)
        )
        return self.prepare(self.flavor.along_index(over, workers, f"{workers.name}_lease"))

    @cached_property
    def mark_gone(self) -> Prepared:
        """Give workers up for good."""
        workers = self.tables.workers
        return self.prepare(update(workers).where(self.flavor.in_list(workers.c.id, "workers")).values(gone=ONE))

    @cached_property
    def lock_worker(self) -> Prepared:
        """Wait for what a worker is just doing, and keep it from doing more."""
        workers = self.tables.workers
        return self.prepare(select(workers.c.id).where(workers.c.id == bindparam("worker")).with_for_update())

    @cached_property
    def take_of_worker(self) -> Take:
        """Take all that one worker holds."""
        running = self.tables.running
        held = select(running).where(running.c.worker == bindparam("worker")).with_for_update()
        return self.take_found(running, self.flavor.along_index(held, running, f"{running.name}_worker"))

    @cached_property
    def given_up(self) -> Prepared:
        """Return the workers that were given up, the longest dead first; they stay so, and need no lock."""
        workers = self.tables.workers
        over = (workers.c.lease_until <= bindparam("now"), workers.c.gone == ONE)
        query = select(workers.c.id).where(*over).order_by(workers.c.lease_until)
        return self.prepare(self.flavor.along_index(query, workers, f"{workers.name}_lease"))

    @cached_property
    def take_some_of_worker(self) -> Take:
        """Take up to `limit` of the jobs that a worker holds, without those that another rescuer is just taking."""
        running = self.tables.running
        held = select(running).where(running.c.worker == bindparam("worker")).limit(bindparam("limit"))
        locking = held.with_for_update(skip_locked=True)
        return self.take_found(running, self.flavor.along_index(locking, running, f"{running.name}_worker"))

    @cached_property
    def empty_handed(self) -> Prepared:
        """Return the workers that were given up and hold nothing, and lock them."""
        running, workers = self.tables.running, self.tables.workers
        holds_a_job = exists().where(running.c.worker == workers.c.id)
        over = (workers.c.lease_until <= bindparam("now"), workers.c.gone == ONE)
        idle = select(workers.c.id).where(*over, ~holds_a_job).order_by(workers.c.id)
        locking = idle.with_for_update(skip_locked=True)
        return self.prepare(self.flavor.along_index(locking, workers, f"{workers.name}_lease"))

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
