"""A producer process of its own: `python producer.py URL NAMESPACE PREFIX COUNT BATCH PAUSE`.

Every id is written to the log only after the enqueue that stored it returned. A batch whose enqueue failed is sent
again with the same ids until it is answered: that is what a careful producer does, and why enqueue is idempotent.
"""

from __future__ import annotations

import sys
import threading

import fault_jobs
from wg_core import Client
from wg_core.errors import AmbiguousResultError, BackendUnavailableError


def main(url: str, namespace: str, *, prefix: str, count: int, batch: int, pause: float) -> None:
    with Client.connect(url, namespace=namespace) as client:
        for first in range(0, count, batch):
            ids = [f"{prefix}{number:06d}" for number in range(first, min(count, first + batch))]
            enqueue(client, ids)
            threading.Event().wait(pause)


def enqueue(client: Client, ids: list[str]) -> None:
    jobs = [
        (fault_jobs.charge if number % 10 == 0 else fault_jobs.step).using(id=job_id).job()
        for number, job_id in enumerate(ids)
    ]
    while True:
        try:
            client.enqueue_many(jobs)
        except (AmbiguousResultError, BackendUnavailableError) as error:
            fault_jobs.write("enqueue failed", error=type(error).__name__)
            threading.Event().wait(0.1)
        else:
            fault_jobs.write("enqueued", ids=ids)
            return


if __name__ == "__main__":
    _, url, namespace, prefix, count, batch, pause = sys.argv
    main(url, namespace, prefix=prefix, count=int(count), batch=int(batch), pause=float(pause))
