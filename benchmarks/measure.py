"""How a figure is taken: both sides in turn, several rounds, the median of each and the ratio round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

RAW = "raw"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report: rates in units a second, and how they stand to a reference of the same run."""

    store: str
    what: str
    unit: str
    wg: float
    raw: float | None
    goal: str
    spread: float = 0.0
    """Largest over smallest wg rate of the rounds."""
    against: str = RAW
    """What the reference is: the raw store, or wg itself in another situation, or wg beside another queue."""

    ratio_of_rounds: float | None = None
    """The median of the ratios of each round: what shook the machine for longer than a round is not in it."""

    @property
    def ratio(self) -> float | None:
        """How the figure stands to its reference; above 1 is faster."""
        if self.ratio_of_rounds is not None:
            return self.ratio_of_rounds
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
    against: str = RAW,
) -> Figure:
    """Take both rates in turn (raw, wg, raw, wg, …) so that a slow moment of the machine hits both.

    The ratio is the median of the rounds' own, so it need not be that of the two rates that are shown.
    """
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
        against=against,
        ratio_of_rounds=statistics.median(ours / theirs for ours, theirs in zip(wg_rates, raw_rates, strict=True)),
    )
