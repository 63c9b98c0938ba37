"""The same rates with many jobs waiting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from benchmarks.measure import Figure, compare
from benchmarks.side import Side


def backlog_figures(store: str, url: str, jobs: int, backlog: int) -> list[Figure]:
    """Return wg's rates with a backlog, each against its rate without in the same rounds."""
    single = max(200, jobs // 20)
    with contextlib.closing(Side(url, "benchfew")) as few, contextlib.closing(Side(url, "benchfull")) as full:
        full.fill(backlog)

        def both(what: str, measure: Callable[[Side], float]) -> Figure:
            figure = compare(
                store,
                f"{what}, {backlog:,} waiting",
                wg=lambda: measure(full),
                raw=lambda: measure(few),
                goal="≈ 1",
                rounds=3,
                against="none waiting",
            )
            few.empty()
            return figure

        return [
            both("enqueue, one a call", lambda side: side.rate_of_single(single)),
            both("enqueue, 1,000 a call", lambda side: side.rate_of_bulk(jobs)),
            both("reserve + report", lambda side: side.rate_of_cycles(jobs)),
        ]
