"""A producer process of its own: `python producer.py URL NAMESPACE PREFIX COUNT BATCH PAUSE`.

Every id is written to the log only after the enqueue that stored it returned. A batch whose enqueue failed is sent
again with the same ids until it is answered: that is what a careful producer does, and why enqueue is idempotent.
Every tenth job is an at-most-once job; those are not sent again when they may have arrived, because they may have run.
"""

from __future__ import annotations

import sys
import threading

import fault_jobs
from wg_core import Client, JobFunction
from wg_core.errors import AmbiguousResultError, BackendUnavailableError


def main(url: str, namespace: str, *, prefix: str, count: int, batch: int, pause: float) -> None:
    with Client.connect(url, namespace=namespace) as client:
        for first in range(0, count, batch):
            ids = [f"{prefix}{number:06d}" for number in range(first, min(count, first + batch))]
            enqueue(client, fault_jobs.charge, ids[::10])
            enqueue(client, fault_jobs.step, [job_id for number, job_id in enumerate(ids) if number % 10])
            threading.Event().wait(pause)


def enqueue(client: Client, function: JobFunction[..., None], ids: list[str]) -> None:
    jobs = [function.using(id=job_id).job() for job_id in ids]
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


if __name__ == "__main__":
    _, url, namespace, prefix, count, batch, pause = sys.argv
    main(url, namespace, prefix=prefix, count=int(count), batch=int(batch), pause=float(pause))
