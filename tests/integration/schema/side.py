"""What a process of either version does: `python side.py ROLE URL [FIRST COUNT]`, with that version on its path.

Uses only what the public interface of both has. Says its schema version first, then one line for each job.
"""

from __future__ import annotations

import sys
import threading

from wg_core import Client, WorkerPool, job
from wg_core.sql import migrating

_out = threading.Lock()


def say(line: str) -> None:
    with _out:
        print(line, flush=True)


@job
def note(number: int) -> None:
    say(f"ran {number}")


def work(url: str) -> None:
    with WorkerPool(url=url, handlers=[note], threads=2):
        say("works")
        sys.stdin.readline()


def produce(url: str, first: str, count: str) -> None:
    client = Client.connect(url)
    for number in range(int(first), int(first) + int(count)):
        client.enqueue(note.job(number))
        say(f"stored {number}")


if __name__ == "__main__":
    say(f"schema {migrating.SCHEMA_VERSION}")
    {"work": work, "produce": produce}[sys.argv[1]](*sys.argv[2:])
