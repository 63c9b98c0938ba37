"""How a figure is taken: both sides in turn, several rounds, the median of each and the ratio round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report: rates in units a second, and the ratio wg : raw of the median round."""

    store: str
    what: str
    unit: str
    wg: float
    raw: float | None
    goal: str
    spread: float = 0.0
    """Largest over smallest wg rate of the rounds."""

    @property
    def ratio(self) -> float | None:
        """How wg stands to the raw store; above 1 is faster than raw."""
        return self.wg / self.raw if self.raw else None


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` were done a second by one call of `work`."""
    begin = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin)


def compare(
    store: str,
    what: str,
    *,
    wg: Callable[[], float],
    raw: Callable[[], float],
    goal: str,
    rounds: int = 5,
    unit: str = "/s",
) -> Figure:
    """Take both rates in turn (raw, wg, raw, wg, …) so that a slow moment of the machine hits both."""
    raw_rates, wg_rates = [], []
    for _ in range(rounds):
        raw_rates.append(raw())
        wg_rates.append(wg())
    return Figure(
        store=store,
        what=what,
        unit=unit,
        wg=statistics.median(wg_rates),
        raw=statistics.median(raw_rates),
        goal=goal,
        spread=max(wg_rates) / min(wg_rates),
    )
