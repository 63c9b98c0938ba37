"""The statements that PostgreSQL has a better form for than the toolkit's: as text, so that each can be read whole.

They are written for generic plans: every table is reached by `key = ANY(an array)`, which can only be an index lookup.
A join with a list of unknown length may be planned as a walk over the whole table.

`enqueue_one`, `reserve` and `finish` do in one statement, so in one round trip and one commit, what the
toolkit does in a transaction of several. They do it all, or change nothing and say so, or fail where a key is there
already (two calls with one id at the same moment; ON CONFLICT would cost a third of an insertion). They rely on this:

* All parts of a statement see the store as it was when the statement began, and none sees what another part writes.
  So they are joined by what they answer (RETURNING), which also puts them in order.
* A row that somebody else is just changing is waited for, and then looked at as it has become; that holds for
  SELECT … FOR UPDATE or FOR KEY SHARE, UPDATE, DELETE and ON CONFLICT DO UPDATE.
"""
# ruff: noqa: S608 - what is put into the texts are the names of our own tables

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, text

from wg_core.sql import CLAIMED, Flavor, Prepared, Statements, prepare
from wg_core.sql.tables import JOB_COLUMNS
from wg_postgres.waking import Signal

_ARRAYS = {"rank": "smallint", "at_most_once": "smallint", "body": "bytea"} | dict.fromkeys(
    ("id", "name", "queue"), "text"
)
"""The types of the columns of new jobs; the others are bigint."""
_FIRST_RANK = -1_000

NOT_HERE, NOTHING_READY, CLAIMED_SOME = 0, 1, 2
"""What `reserve` says: it was not the statement for this case, nothing was ready, here are the jobs."""


def as_arrays(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the parameters of a batch of new jobs: an array for each column.

    Numbers are written out by ourselves: any driver takes ten times as long to look at each of them.
    """
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {f"new_{name}": list(values) if _is_text(name) else _numbers(values) for name, values in columns}


def _is_text(column: str) -> bool:
    return _ARRAYS.get(column) in {"text", "bytea"}


def _numbers(values: Sequence[int | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


class Texts:
    """The statements of one namespace."""

    def __init__(self, statements: Statements, flavor: Flavor) -> None:
        self._statements = statements
        self._flavor = flavor
        tables = statements.tables
        self._jobs, self._running = self._name(tables.jobs), self._name(tables.running)
        self._workers, self._queues = self._name(tables.workers), self._name(tables.queues)
        self._requests, self._counters = self._name(tables.requests), self._name(tables.counters)
        self._all_jobs = [self._name(table) for table in tables.by_state.values()]
        self._signal = Signal(tables.namespace, flavor.schema)
        new = (tables.jobs, tables.scheduled)
        self.may_number = self._written(f"SELECT has_sequence_privilege({self._sequence(self._jobs)}, 'USAGE')")
        """Whether this user may draw sequence numbers: the right to INSERT is not enough."""
        self.enqueue_one = {table.name: self._written(self._enqueue_one(table)) for table in new}
        self.insert_new = {table.name: self._written(self._insertion(table)) for table in new}
        self.store_new = {
            (table.name, by_id): self._written(self._store_new(table, by_id=by_id))
            for table in new
            for by_id in (False, True)
        }
        of_each = "FROM unnest(:queues ::text[]) AS woken (queue)"
        self.wake = self._written(f"SELECT {self._signal.notify('queue')} {of_each}")
        self.wake_waiters = self._written(f"SELECT {self._signal.notify_waiters('queue')} {of_each}")
        self.claim = self._written(self._claim())
        self.reserve = {listed: self._written(self._reserve(listed=listed)) for listed in (False, True)}
        self.finish = self._written(self._finish())

    def _name(self, table: Table) -> str:
        """Return the table's name as it stands in a statement, with its schema and quotes where needed."""
        return str(self._flavor.dialect.identifier_preparer.format_table(table))

    def _written(self, statement: str) -> Prepared:
        """Return a statement for the driver; parameters are written `:name`."""
        return prepare(text(statement), self._flavor.dialect)

    # ------------------------------------------------------------------ enqueue

    def _enqueue_one(self, table: Table) -> str:
        """Insert one job unless its id is known, and wake who waits for it; parameters as `new_columns`.

        It may arrive late, after the client gave up waiting and sent it again: so it looks, be the id new or not.
        """
        names = self._statements.new_columns(table)
        given = ", ".join(f":{name} ::{_ARRAYS.get(name, 'bigint')} AS {name}" for name in names)
        unknown = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {table} AS known WHERE known.id = new.id)" for table in self._all_jobs
        )
        is_ready = table is self._statements.tables.jobs
        return f"""
            INSERT INTO {self._name(table)} ({", ".join(names)})
            SELECT * FROM (SELECT {given}) AS new WHERE {unknown}
            RETURNING {self._signal.notify_waiters("queue") if is_ready else "1"}
            """

    def _store_new(self, table: Table, *, by_id: bool) -> str:
        """Insert jobs whose ids are not known, from arrays, `:new_id` and so on; answers the ids that were stored.

        `by_id`: they are numbered in the order of the arrays, but inserted in the order of their ids, so that two
        batches with the same ids in another order do not wait for each other crosswise at the index.
        """
        insertion = self._insertion(table, "new.id NOT IN (SELECT id FROM known)", by_id=by_id)
        return f"WITH {self._known()} {insertion} ON CONFLICT (id) DO NOTHING RETURNING id"

    def _known(self) -> str:
        found = (f"SELECT id FROM {table} WHERE id = ANY(:new_id ::text[])" for table in self._all_jobs)
        return f"known AS MATERIALIZED ({' UNION ALL '.join(found)})"

    def _insertion(self, table: Table, condition: str = "true", *, by_id: bool = False) -> str:
        """Return the text that inserts from arrays, `:new_id` and so on, the jobs that meet a condition."""
        names, target = self._statements.new_columns(table), self._name(table)
        arrays = ", ".join(f":new_{name} ::{_ARRAYS.get(name, 'bigint')}[]" for name in names)
        listed = ", ".join(names)
        number = f"nextval((SELECT {self._sequence(target)})) AS seq, " if by_id else ""
        new = f"""
                SELECT {number}{listed}
                FROM unnest({arrays}) WITH ORDINALITY AS new ({listed}, place)
                WHERE {condition}
                ORDER BY place
            """
        if by_id:
            listed = f"seq, {listed}"
            new = f'SELECT {listed} FROM ({new}) AS numbered ORDER BY id COLLATE "C"'
        return f"INSERT INTO {target} ({listed}) {new}"

    def _sequence(self, table: str) -> str:
        return f"pg_get_serial_sequence('{table}', 'seq')::regclass"

    # ------------------------------------------------------------------ reserve

    def _claim(self) -> str:
        """Move the first `:limit` jobs of `:queue` to running: a row for each that left ready, nulls if it expired.

        A job that runs already (two enqueues of its id met) is dropped.
        """
        return f"""
            WITH taken AS (
                DELETE FROM {self._jobs}
                WHERE seq = ANY(ARRAY(
                    SELECT front.seq FROM {self._jobs} AS front
                    WHERE front.queue = :queue
                    ORDER BY front.rank, front.seq LIMIT :limit FOR UPDATE SKIP LOCKED
                ))
                RETURNING *
            ), claimed AS ({self._into_running(drops_doubles=True)})
            SELECT {", ".join(f"claimed.{name}" for name in CLAIMED)}
            FROM taken LEFT JOIN claimed ON claimed.seq = taken.seq
            """

    def _reserve(self, *, listed: bool) -> str:
        """Claim from queues in order and keep the request number.

        Answers what happened, how many seconds the search took, the place of the queue, and `CLAIMED`.

        Parameters `:queues`, `:ranks`, `:seqs`: the queues (if listed), and where the search begins in each of them.
        Only for a worker with a live lease and a new request number, and where nothing at the front has expired.
        """
        return f"""
            WITH lease AS MATERIALIZED (
                SELECT id FROM {self._workers}
                WHERE id = :worker AND gone = 0 AND lease_until > :now
                FOR KEY SHARE
            ), begun AS MATERIALIZED (
                SELECT * FROM unnest(:queues ::text[], :ranks ::bigint[], :seqs ::bigint[])
                    WITH ORDINALITY AS begun (queue, rank, seq, place)
            ), open AS MATERIALIZED ({self._listed_queues() if listed else self._busy_queues()}),
            front AS MATERIALIZED (
                SELECT job.seq, job.queue, job.expires_at, open.place
                FROM lease CROSS JOIN open CROSS JOIN LATERAL (
                    SELECT ready.seq, ready.queue, ready.expires_at FROM {self._jobs} AS ready
                    WHERE ready.queue = open.name AND (ready.rank, ready.seq) > (open.rank, open.seq)
                    ORDER BY ready.rank, ready.seq LIMIT :limit FOR UPDATE SKIP LOCKED
                ) AS job
                LIMIT :limit
            ), asked AS (
                INSERT INTO {self._requests} (worker, operation, request_no, answer)
                SELECT :worker, 'reserve', :request_no, convert_to(json_agg(queue ORDER BY place)::text, 'UTF8')
                FROM (SELECT queue, min(place) AS place FROM front GROUP BY queue) AS answered
                HAVING count(*) > 0 AND NOT EXISTS (SELECT 1 FROM front WHERE expires_at <= :now)
                ON CONFLICT (worker, operation) DO UPDATE
                SET request_no = excluded.request_no, answer = excluded.answer
                WHERE {self._requests}.request_no < excluded.request_no
                RETURNING extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
            ), taken AS (
                DELETE FROM {self._jobs}
                WHERE seq = ANY(ARRAY(SELECT seq FROM front)) AND EXISTS (SELECT 1 FROM asked)
                RETURNING *
            ), claimed AS ({self._into_running()})
            SELECT
                CASE
                    WHEN EXISTS (SELECT 1 FROM asked) THEN {CLAIMED_SOME}
                    WHEN EXISTS (SELECT 1 FROM lease) AND NOT EXISTS (SELECT 1 FROM front) AND NOT EXISTS (
                        SELECT 1 FROM {self._requests}
                        WHERE worker = :worker AND operation = 'reserve' AND request_no >= :request_no
                    ) THEN {NOTHING_READY}
                    ELSE {NOT_HERE}
                END,
                (SELECT seconds FROM asked),
                front.place, {", ".join(f"claimed.{name}" for name in CLAIMED)}
            FROM (SELECT 1) AS one LEFT JOIN claimed ON true LEFT JOIN front ON front.seq = claimed.seq
            """

    def _listed_queues(self) -> str:
        return f"""
                SELECT begun.queue AS name, begun.rank, begun.seq, begun.place
                FROM begun JOIN {self._queues} AS known ON known.name = begun.queue
                WHERE known.paused = 0
                ORDER BY begun.place
            """

    def _busy_queues(self) -> str:
        """Return the text that lists all queues with jobs, beginning at another one with each request number."""
        return f"""
                SELECT name, rank, seq, (number + busy - :request_no % busy) % busy AS place
                FROM (
                    SELECT known.name, coalesce(begun.rank, {_FIRST_RANK}) AS rank, coalesce(begun.seq, 0) AS seq,
                        row_number() OVER (ORDER BY known.name) - 1 AS number, count(*) OVER () AS busy
                    FROM {self._queues} AS known LEFT JOIN begun ON begun.queue = known.name
                    WHERE known.paused = 0 AND (
                        SELECT 1 FROM {self._jobs} AS waiting
                        WHERE waiting.queue = known.name
                            AND (waiting.rank, waiting.seq)
                                > (coalesce(begun.rank, {_FIRST_RANK}), coalesce(begun.seq, 0))
                        ORDER BY waiting.rank, waiting.seq LIMIT 1
                    ) IS NOT NULL
                ) AS numbered
                ORDER BY place
            """

    def _into_running(self, *, drops_doubles: bool = False) -> str:
        """Return the text that copies what was `taken` from ready to running, but for what expired."""
        copied = [name for name in JOB_COLUMNS if name not in {"attempt", "lease_no"}]
        names = ["seq", "ready_at", *copied, "attempt", "lease_no", "worker", "request_no", "reserved_at"]
        values = [*names[:-5], "attempt + 1", "lease_no + 1", ":worker", ":request_no", ":now"]
        return f"""
                INSERT INTO {self._running} ({", ".join(names)})
                SELECT {", ".join(values)} FROM taken
                WHERE expires_at IS NULL OR expires_at > :now
                {"ON CONFLICT DO NOTHING" if drops_doubles else ""}
                RETURNING {", ".join(CLAIMED)}
            """

    # ------------------------------------------------------------------ report

    def _finish(self) -> str:
        """End held jobs of one lease number as done, count them and keep the request number and its answer.

        Answers whether it was the statement for this case (a known worker, a new request number), and the places
        (from 0) of the ids that were not held.
        """
        return f"""
            WITH known AS MATERIALIZED (
                SELECT id FROM {self._workers} WHERE id = :worker FOR KEY SHARE
            ), last AS MATERIALIZED (
                SELECT request_no FROM {self._requests}
                WHERE worker = :worker AND operation = 'report' AND EXISTS (SELECT 1 FROM known)
                FOR UPDATE
            ), fresh AS MATERIALIZED (
                SELECT id FROM known WHERE NOT EXISTS (SELECT 1 FROM last WHERE request_no >= :request_no)
            ), done AS (
                DELETE FROM {self._running}
                WHERE id = ANY(:ids ::text[]) AND coalesce(worker, '') = :worker AND lease_no = :lease_no
                    AND EXISTS (SELECT 1 FROM fresh)
                RETURNING id, queue
            ), lost AS MATERIALIZED (
                SELECT place - 1 AS place FROM unnest(:ids ::text[]) WITH ORDINALITY AS sent (id, place)
                WHERE id NOT IN (SELECT id FROM done)
            ), counted AS (
                INSERT INTO {self._counters} (queue, worker, done)
                SELECT queue, :worker, count(*) FROM done GROUP BY queue ORDER BY queue
                ON CONFLICT (queue, worker) DO UPDATE SET done = {self._counters}.done + excluded.done
            ), asked AS (
                INSERT INTO {self._requests} (worker, operation, request_no, answer)
                SELECT :worker, 'report', :request_no,
                    convert_to(coalesce((SELECT json_agg(place::text) FROM lost)::text, '[]'), 'UTF8')
                FROM fresh
                ON CONFLICT (worker, operation) DO UPDATE
                SET request_no = excluded.request_no, answer = excluded.answer
                WHERE {self._requests}.request_no < excluded.request_no
                RETURNING request_no
            )
            SELECT EXISTS (SELECT 1 FROM asked), ARRAY(SELECT place FROM lost)
            """
