"""Measure wg against the raw stores in one run.

python -m benchmarks                       every store, each on a private server
python -m benchmarks postgres --jobs 50000 one store, more jobs
python -m benchmarks --backlog 1000000     also with a million jobs waiting
python -m benchmarks --load                also many connections at once, and snapshots held elsewhere
python -m benchmarks --peers               also other queues that are installed (see benchmarks/peers.py)
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks import report
from benchmarks.backlog import backlog_figures
from benchmarks.cases import Bench
from benchmarks.contention import contention_figures
from benchmarks.measure import Figure
from benchmarks.peers import peer_figures
from benchmarks.process import idle_worker, import_time
from benchmarks.stores import SETTINGS, STORES, private_store

PEER_JOBS = 5_000
"""More would only take longer: most of them do a few hundred a second."""


def main() -> int:
    """Run the chosen cases and print one table."""
    options = _parse()
    figures: list[Figure] = [import_time()]
    print(
        f"Python {platform.python_version()}, {platform.machine()}; rates are medians, the reference is the raw store"
    )
    print(report.HEAD)
    _show(figures)
    for store in options.stores or STORES:
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder, private_store(store, Path(folder)) as url:
            print(f"{store}: {SETTINGS[store]}", flush=True)
            new = _measure(store, url, Path(folder), options)
        figures += new
    if options.markdown:
        print(report.as_markdown(figures))
    if options.json:
        print(report.as_json(figures))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("stores", nargs="*", metavar="STORE", help=f"of {', '.join(STORES)}; all when none is named")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a round (a multiple of 1,000)")
    parser.add_argument("--backlog", type=int, default=0, help="measure the hot path again with so many jobs waiting")
    parser.add_argument("--load", action="store_true", help="also many connections at once; PostgreSQL's own cases")
    parser.add_argument("--peers", action="store_true", help="also measure other queues that are installed")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/benchmarks.md at the end")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    options = parser.parse_args()
    if unknown := set(options.stores) - set(STORES):
        parser.error(f"unknown store {min(unknown)!r}; known: {', '.join(STORES)}")
    if options.jobs < 1_000 or options.jobs % 1_000:
        parser.error(f"--jobs must be a multiple of 1000, got {options.jobs}")
    return options


def _measure(store: str, url: str, folder: Path, options: argparse.Namespace) -> list[Figure]:
    """Measure what is asked for, shown group by group."""
    figures: list[Figure] = []
    with contextlib.closing(Bench(store, url, folder, options.jobs)) as bench:
        figures += _show(bench.figures())
    if store != "memory":
        figures += _show(idle_worker(store, url))
    if options.backlog:
        figures += _show(backlog_figures(store, url, options.jobs, options.backlog))
    if options.load and store != "memory":
        figures += _show(contention_figures(store, url, options.jobs))
    if options.load and store == "postgres":
        from benchmarks.postgres_cases import postgres_figures  # noqa: PLC0415 - needs its driver

        figures += _show(postgres_figures(url, options.jobs))
    if options.peers:
        figures += _show(peer_figures(store, url, folder, min(options.jobs, PEER_JOBS)))
    return figures


def _show(figures: Iterable[Figure]) -> list[Figure]:
    """Print each figure as soon as it is taken, and return them all."""
    shown = []
    for figure in figures:
        print(report.line(figure), flush=True)
        shown.append(figure)
    return shown


if __name__ == "__main__":
    sys.exit(main())
