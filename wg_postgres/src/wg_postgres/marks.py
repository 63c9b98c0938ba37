"""The low-water mark: where a claim begins to search, while dead index entries make searching from the front slow.

A transaction that stays open elsewhere keeps vacuum from clearing away what was claimed since. Every claim then walks
over all of it before it meets the first job. So, as long as that is slow, a claim begins behind the last job that this
process claimed from the queue. What comes in before that place meanwhile (a higher priority, a job given back) waits
until the next search from the front: after a second, or at once when a claim does not find as many jobs as it wanted.
A mark is where the search begins, never a limit of what may be claimed: no job is stranded behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

FIRST = (-1_000, 0)
"""Before every (rank, seq)."""
SLOW_SECONDS, SLOW_SECONDS_PER_JOB = 0.001, 10e-6
"""A search from the front that takes longer in the server is slow: some three times as long as without dead entries."""
SLOW_IN_A_ROW = 8
"""So many slow searches in a row are worth a trial: fewer may be a moment in which the machine was busy."""
MANY_CLAIMED = 10_000
"""Before an instance has claimed so many jobs there cannot be dead entries that matter, so nothing is tried."""
RESET_SECONDS = 1.0
"""How long marks are used before the next search from the front."""
GAIN, USELESS_IN_A_ROW = 0.5, 3
"""Marks are of use while one search in three, at least, takes half the time of the last one from the front."""
TRIAL_SECONDS = 10.0
"""How long marks that are of no use are left alone."""

Place = tuple[int, int]
"""(rank, seq)"""


@dataclass(frozen=True, slots=True)
class _Search:
    """The last search from the front: when it was, how long it took, and where each queue has been claimed to since."""

    at: float
    seconds: float
    useless_in_a_row: int = 0
    marks: Mapping[str, Place] = field(default_factory=dict)


class Marks:
    """The marks of one backend instance. Threads that reserve at once share them, and none is the worse for it."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        slow_seconds: float = SLOW_SECONDS,
        slow_in_a_row: int = SLOW_IN_A_ROW,
        many_claimed: int = MANY_CLAIMED,
        gain: float = GAIN,
    ) -> None:
        self._clock = clock
        self._slow_seconds = slow_seconds
        self._enough = slow_in_a_row
        self._many = many_claimed
        self._gain = gain
        self._search: _Search | None = None  # replaced as a whole
        self._not_before = 0.0
        self._slow_in_a_row = 0
        self._claimed = 0

    def current(self) -> Mapping[str, Place]:
        """Return where to begin in the queues that have a mark; empty: search from the front."""
        search = self._search
        if search is None or self._clock() - search.at > RESET_SECONDS:
            return {}
        return search.marks

    def note(self, used: Mapping[str, Place], claimed: Sequence[tuple[str, Place]], *, seconds: float) -> None:
        """Learn from a claim that found all it wanted: the marks it used, what it took, and how long that took (s)."""
        self._claimed += len(claimed)
        search = self._search
        if not used:
            self._note_from_the_front(claimed, seconds)
        elif search is not None:
            useless = search.useless_in_a_row + 1 if seconds > search.seconds * self._gain else 0
            marks = {**search.marks, **dict(claimed)}
            self._search = replace(search, useless_in_a_row=useless, marks=marks)
            if useless >= USELESS_IN_A_ROW:
                self._search, self._slow_in_a_row, self._not_before = None, 0, self._clock() + TRIAL_SECONDS

    def _note_from_the_front(self, claimed: Sequence[tuple[str, Place]], seconds: float) -> None:
        is_slow = seconds > self._slow_seconds + SLOW_SECONDS_PER_JOB * len(claimed)
        self._slow_in_a_row = self._slow_in_a_row + 1 if is_slow and self._clock() >= self._not_before else 0
        is_worth_a_trial = self._slow_in_a_row >= self._enough and self._claimed >= self._many
        self._search = _Search(self._clock(), seconds, marks=dict(claimed)) if is_worth_a_trial else None

    def clear(self) -> None:
        """Let the next claim search from the front: the last one did not find all it wanted."""
        self._search = None
