"""Statements of reserve."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from wg_core.sql.prepared import Prepared
from wg_core.sql.statements.base import ONE, ZERO, StatementSet
from wg_core.sql.tables import JOB_COLUMNS

CLAIMED = (
    "id",
    "name",
    "queue",
    "rank",
    "body",
    "attempt",
    "lease_no",
    "max_retries",
    "at_most_once",
    "crashes",
    "snoozes",
    "bounces",
    "enqueued_at",
    "reserved_at",
    "seq",
)
"""What a claim answers of each job."""


class Claims(StatementSet):
    """How jobs go from ready to running."""

    @cached_property
    def lease(self) -> Prepared:
        """Return lease_until, gone, and the last request number and answer of one operation of a worker.

        The worker's row stays locked in share mode, so that no rescue gives up a worker that is just doing something;
        where there is a mode that lets beats through all the same, in that.
        """
        workers, requests = self.tables.workers, self.tables.requests
        last = (requests.c.worker == workers.c.id) & (requests.c.operation == bindparam("operation"))
        return self.prepare(
            select(workers.c.lease_until, workers.c.gone, requests.c.request_no, requests.c.answer)
            .select_from(workers.outerjoin(requests, last))
            .where(workers.c.id == bindparam("worker"))
            .with_for_update(read=True, key_share=True, of=workers)
        )

    @cached_property
    def first_request(self) -> Prepared:
        """Keep the first request of one operation of a worker, and its answer; changes nothing when there is one."""
        columns = ("worker", "operation", "request_no", "answer")
        insertion = self.flavor.insert_ignore(self.tables.requests)
        return self.prepare(insertion.values({name: bindparam(name) for name in columns}))

    @cached_property
    def next_request(self) -> Prepared:
        """Keep a request number and its answer in place of the last one; changes nothing when that is another."""
        requests = self.tables.requests
        return self.prepare(
            update(requests)
            .where(
                requests.c.worker == bindparam("worker"),
                requests.c.operation == bindparam("operation"),
                requests.c.request_no == bindparam("last_no"),
            )
            .values(request_no=bindparam("new_no"), answer=bindparam("new_answer"))
        )

    def busy_queues(self, *, listed: bool) -> Prepared:
        """Return the queues (of a list) that are not paused and hold a ready job."""
        queues, jobs = self.tables.queues, self.tables.jobs

        def compose() -> ClauseElement:
            # Not EXISTS, which planners turn into a join that walks along the index through all jobs of a long queue;
            # and in order, or one that believes all jobs to be in this queue reads the table instead of the index.
            waiting = select(ONE).select_from(jobs).where(jobs.c.queue == queues.c.name)
            a_job = waiting.order_by(jobs.c.rank, jobs.c.seq).limit(ONE).scalar_subquery()
            query = select(queues.c.name).where(queues.c.paused == ZERO, a_job.is_not(None))
            if listed:
                query = query.where(self.flavor.in_list(queues.c.name, "queues"))
            return query.order_by(queues.c.name)

        return self.of_table("listed" if listed else "all", queues, compose)

    def window(self) -> Select[Any]:
        """Return the sequence numbers of the first `limit` ready jobs of a queue; compose claims from it."""
        front = self.tables.jobs.alias("front")
        return (
            select(front.c.seq)
            .where(front.c.queue == bindparam("queue"))
            .order_by(front.c.rank, front.c.seq)
            .limit(bindparam("limit"))
        )

    @cached_property
    def claim_window(self) -> Prepared:
        """Copy the jobs of the window that have not expired to running; answers `CLAIMED`."""
        jobs, running = self.tables.jobs, self.tables.running
        names, source = self.claimed(jobs)
        answer = [running.c[name] for name in CLAIMED]
        return self.prepare(
            insert(running)
            .from_select(names, source.where(self.flavor.in_query(jobs.c.seq, self.window())), include_defaults=False)
            .returning(*answer)
        )

    def claimed(self, source: FromClause) -> tuple[list[str], Select[Any]]:
        """Return the columns of running, and a query for them over ready jobs that drops those that expired.

        Parameters: worker, request_no, now. `source` has the columns of ready; compose claims from it.
        """
        given: dict[str, ColumnElement[Any]] = {
            "worker": bindparam("worker"),
            "request_no": bindparam("request_no"),
            "reserved_at": bindparam("now"),
        }
        raised = {"attempt": source.c.attempt + ONE, "lease_no": source.c.lease_no + ONE}
        copied = {name: source.c[name] for name in (*JOB_COLUMNS, "seq", "ready_at")}
        values: dict[str, ColumnElement[Any]] = {**copied, **raised, **given}
        alive = source.c.expires_at.is_(None) | (source.c.expires_at > bindparam("now"))
        return list(values), select(*values.values()).where(alive)

    @cached_property
    def drop_window(self) -> Prepared:
        """Delete the window from ready."""
        jobs = self.tables.jobs
        return self.prepare(delete(jobs).where(self.flavor.in_query(jobs.c.seq, self.window())))

    @cached_property
    def claimed_before(self) -> Prepared:
        """Return, as `CLAIMED`, the jobs that a request reserved and that still run."""
        running = self.tables.running
        return self.prepare(
            select(*(running.c[name] for name in CLAIMED)).where(
                running.c.worker == bindparam("worker"), running.c.request_no == bindparam("request_no")
            )
        )
