"""Measure wg against the raw stores in one run.

python -m benchmarks                       SQLite, Redis (a private server) and memory
python -m benchmarks sqlite --jobs 50000   one store, more jobs
python -m benchmarks --backlog 1000000     also with a million jobs waiting
python -m benchmarks --peers               also other queues that are installed (huey, rq, dramatiq)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import Bench
from benchmarks.measure import Figure
from benchmarks.peers import peer_figures
from benchmarks.process import idle_worker, import_time
from wg_core.testing.servers import RedisServer

STORES = ("memory", "sqlite", "redis")


def main() -> int:
    """Run the chosen cases and print one table."""
    options = _parse()
    figures: list[Figure] = [import_time()]
    _show_head()
    _show(figures)
    for store in options.stores or STORES:
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder, _server(store, Path(folder)) as url:
            new = _measure(store, url, Path(folder), options)
        _show(new)
        figures += new
    if options.json:
        print(json.dumps([asdict(figure) | {"ratio": figure.ratio} for figure in figures], indent=1))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("stores", nargs="*", metavar="STORE", help=f"of {', '.join(STORES)}; all when none is named")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a round (a multiple of 1,000)")
    parser.add_argument("--backlog", type=int, default=0, help="measure the claim again with so many jobs waiting")
    parser.add_argument("--peers", action="store_true", help="also measure other queues that are installed")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    options = parser.parse_args()
    if unknown := set(options.stores) - set(STORES):
        parser.error(f"unknown store {min(unknown)!r}; known: {', '.join(STORES)}")
    if options.jobs < 1_000 or options.jobs % 1_000:
        parser.error(f"--jobs must be a multiple of 1000, got {options.jobs}")
    return options


def _measure(store: str, url: str, folder: Path, options: argparse.Namespace) -> list[Figure]:
    bench = Bench(store, url, folder, options.jobs)
    try:
        figures = bench.figures()
        if options.backlog:
            figures += bench.figures_with_backlog(options.backlog)
    finally:
        bench.close()
    if store != "memory":
        figures += idle_worker(store, url)
    if options.peers:
        figures += peer_figures(store, url, folder, options.jobs)
    return figures


@contextlib.contextmanager
def _server(store: str, folder: Path) -> Iterator[str]:
    if store == "redis":
        with RedisServer(append_only=False) as server:
            yield server.url
    else:
        yield "memory:bench" if store == "memory" else f"sqlite:{folder / 'jobs.db'}"


def _show_head() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; rates are medians, ratio = wg : raw store")
    print(f"{'store':8} {'what':34} {'wg':>12} {'raw':>12} {'ratio':>7} {'spread':>7}  goal", flush=True)


def _show(figures: list[Figure]) -> None:
    for figure in figures:
        raw = f"{figure.raw:12,.4g}" if figure.raw is not None else " " * 12
        ratio = f"{figure.ratio:7.2f}" if figure.ratio is not None else " " * 7
        spread = f"{figure.spread:7.2f}" if figure.spread else " " * 7
        value = f"{figure.wg:,.4g}" if figure.wg < 1_000 else f"{figure.wg:,.0f}"
        print(
            f"{figure.store:8} {figure.what:34} {value:>12}{raw} {ratio} {spread}  {figure.unit} {figure.goal}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
