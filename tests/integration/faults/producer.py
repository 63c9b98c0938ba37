"""A producer process of its own: `python producer.py URL NAMESPACE PREFIX COUNT BATCH PAUSE [GATE]`.

It ends after COUNT jobs, or after the batch in which the file GATE appeared. With a GATE it never gets far ahead of
the workers, so that what waits in the end is done in bounded time however slow the machine is.

Every id is written to the log only after the enqueue that stored it returned. A batch whose enqueue failed is sent
again with the same ids until it is answered: that is what a careful producer does, and why enqueue is idempotent.
Every tenth job is an at-most-once job; those are not sent again when they may have arrived, because they may have run.
Every 25th takes a hundred times as long as the others, so that a kill at any moment meets handlers that run.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import fault_jobs
from wg_core import Client, JobFunction
from wg_core.errors import AmbiguousResultError, BackendUnavailableError

MOST_AHEAD = 2_000


def main(
    url: str, namespace: str, *, prefix: str, count: int, batch: int, pause: float, gate: Path | None = None
) -> None:
    with Path(os.environ["WG_FAULT_LOG"]).open("rb") as log, Client.connect(url, namespace=namespace) as client:
        handlers = Handlers(log)
        for first in range(0, count, batch):
            if gate and not handlers.come_after(first, gate):
                break
            ids = [f"{prefix}{number:06d}" for number in range(first, min(count, first + batch))]
            enqueue(client, fault_jobs.charge, ids[::10])
            enqueue(client, fault_jobs.step, [job_id for number, job_id in enumerate(ids) if number % 10])
            threading.Event().wait(pause)


class Handlers:
    """How far the handlers have come, by their log."""

    def __init__(self, log: BinaryIO) -> None:
        self._log = log
        self._started = 0

    def come_after(self, enqueued: int, gate: Path) -> bool:
        """Wait until they have started nearly all that was enqueued; False when the gate appears before."""
        while not gate.exists():
            self._started += self._log.read().count(b'"event": "started"')
            if enqueued - self._started < MOST_AHEAD:
                return True
            threading.Event().wait(0.1)
        return False


def enqueue(client: Client, function: JobFunction[..., None], ids: list[str]) -> None:
    jobs = [function.using(id=job_id).job(*arguments(function, job_id)) for job_id in ids]
    while True:
        try:
            client.enqueue_many(jobs)
        except (AmbiguousResultError, BackendUnavailableError) as error:
            fault_jobs.write("enqueue failed", error=type(error).__name__)
            if function is fault_jobs.charge and isinstance(error, AmbiguousResultError):
                fault_jobs.write("uncertain", ids=ids)
                return
            threading.Event().wait(0.1)
        else:
            fault_jobs.write("enqueued", ids=ids)
            return


def arguments(function: JobFunction[..., None], job_id: str) -> tuple[float, ...]:
    """Return for how many seconds the job runs."""
    if function is fault_jobs.charge:
        return ()
    return (0.2,) if int(job_id[-6:]) % 25 == 5 else (0.002,)


if __name__ == "__main__":
    _, url, namespace, prefix, count, batch, pause, *gate = sys.argv
    numbers = {"count": int(count), "batch": int(batch), "pause": float(pause)}
    main(url, namespace, prefix=prefix, **numbers, gate=Path(*gate) if gate else None)
