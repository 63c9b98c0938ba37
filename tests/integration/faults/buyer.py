"""A program that buys: `python buyer.py URL NAMESPACE WAY FIRST COUNT SEED LOG`.

Each number is a transaction: a row in the table `orders`, a job that carries the number, and then a commit, a rollback
or a kill. The transactions run in a child, which is forked anew after each kill; the kills are real, by itself between
two steps, or by its parent while it commits. What happened to each number is written to the log, one line each; whether
a killed commit happened only the store knows.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO
from urllib.parse import urlsplit

import MySQLdb
import psycopg
import psycopg2
import pymysql
from sqlalchemy import create_engine

from wg_core import Client, Job, JobOptions

ENDS = ("commit", "rollback", "killed after the row", "killed after the job", "killed in the commit")
WEIGHTS = (50, 35, 5, 5, 5)
LONGEST_SECONDS_TO_A_KILL = 0.004


def connect(url: str, way: str) -> Any:
    """Open a connection as an application does; all have execute through a cursor, commit and rollback."""
    parts = urlsplit(url)
    mysql = {"host": parts.hostname, "port": parts.port, "user": parts.username, "database": parts.path[1:]}
    ways: dict[str, Callable[[], Any]] = {
        "sqlite3": lambda: sqlite3.connect(parts.path, timeout=60),
        "psycopg": lambda: psycopg.connect(url),
        "psycopg2": lambda: psycopg2.connect(url),
        "PyMySQL": lambda: pymysql.connect(**mysql),
        "mysqlclient": lambda: MySQLdb.connect(**mysql),
    }
    if way in ways:
        return ways[way]()
    if way == "sqlite":
        return create_engine(f"sqlite:///{parts.path}", connect_args={"timeout": 60}).raw_connection()
    return create_engine(f"{way}:{url.partition(':')[2]}").raw_connection()


class Buyer:
    """Runs transactions until it is killed; `said` is where it tells its parent what it is about to do."""

    def __init__(self, client: Client, connection: Any, said: int) -> None:
        self._client = client
        self._connection = connection
        self._said = said

    def run(self, number: int, end: str) -> str:
        """Make one transaction and return what became of it."""
        try:
            self._connection.cursor().execute(f"INSERT INTO orders VALUES ({number})")
            self._reached("killed after the row", end)
            self._client.enqueue(charge(number), connection=self._connection)
            self._reached("killed after the job", end)
            if end == "rollback":
                self._connection.rollback()
                return "rolled back"
            if end == "killed in the commit":
                os.write(self._said, b"commit\n")
            self._connection.commit()
            while end == "killed in the commit":  # the kill comes surely, maybe only now
                signal.pause()
        except (psycopg.Error, psycopg2.Error, pymysql.MySQLError, MySQLdb.Error, sqlite3.Error) as error:
            self._connection.rollback()  # a deadlock with another buyer, which is the buyer's to handle
            return f"failed: {type(error).__name__} {error}".replace("\n", " ")
        return "committed"

    def _reached(self, point: str, end: str) -> None:
        if point == end:
            os.kill(os.getpid(), signal.SIGKILL)


def charge(number: int) -> Job[Any]:
    """Return the job of an order: under an id of its own or a new one, for now or for later."""
    options = {"id": f"order-{number}"} if number % 2 else {}
    options |= {"delay": 3600} if number % 5 == 0 else {}
    return Job("charge", b'{"order":%d}' % number, JobOptions(**options))


def main(url: str, namespace: str, way: str, *, first: int, count: int, seed: int, log: Path) -> None:
    """Run all numbers, with as many children as it takes."""
    chance = random.Random(seed)
    plan = {number: chance.choices(ENDS, WEIGHTS)[0] for number in range(first, first + count)}
    with log.open("a", buffering=1) as lines, Client.connect(url, namespace=namespace) as client:
        warm_up(client, connect(url, way))
        while plan:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                run_child(Buyer(client, connect(url, way), writing), plan, lines)
            os.close(writing)
            status = watch(child, reading, chance)
            done = {int(line.split("\t")[0]) for line in log.read_text().splitlines()}
            plan = {number: end for number, end in plan.items() if number not in done}
            if os.WIFSIGNALED(status):
                number, end = next(iter(plan.items()))
                lines.write(f"{number}\t{end}\n")
                del plan[number]
            elif os.WEXITSTATUS(status):
                sys.exit("the child failed")


def warm_up(client: Client, connection: Any) -> None:
    """Prepare once what each child would have to: the statements, and the modules that they need."""
    client.enqueue_many([charge(0), charge(1)], connection=connection)
    connection.rollback()
    connection.close()


def run_child(buyer: Buyer, plan: Mapping[int, str], lines: TextIO) -> NoReturn:
    """Run what is left, and leave without the ends that belong to the parent."""
    try:
        lines.writelines(f"{number}\t{buyer.run(number, end)}\n" for number, end in plan.items())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def watch(child: int, reading: int, chance: random.Random) -> int:
    """Kill the child a moment after it says that it commits; return how it ended."""
    with contextlib.closing(os.fdopen(reading, "rb")) as said:
        if said.readline():
            threading.Event().wait(chance.uniform(0, LONGEST_SECONDS_TO_A_KILL))
            os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    _, store_url, store_namespace, driver, first_number, how_many, seeded, log_path = sys.argv
    main(
        store_url,
        store_namespace,
        driver,
        first=int(first_number),
        count=int(how_many),
        seed=int(seeded),
        log=Path(log_path),
    )
