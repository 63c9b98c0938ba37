"""Ends handlers whose time is over, in three honest steps.

1. At the deadline `current_job().check()` raises and `time_left` is zero: the handler can end itself in good order.
2. Half a second later JobTimeout is raised in the handler's thread, again each second. It hits at the next bytecode,
   so not while the thread waits in a blocking call.
3. A thread that still has not moved five seconds later is stuck, and only the end of its process can stop it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from wg_core._held import HeldJob
from wg_core._service import FOREVER, Service
from wg_core._slot import RaisedTimeout, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long each step gives the handler before the next one, in seconds."""

    cooperative: float = 0.5
    between_raises: float = 1.0
    stuck: float = 5.0


class Timeouts(Service):
    """Watches the slots of all executors; sleeps until the earliest deadline."""

    name = "timeouts"

    def __init__(self, on_stuck: Callable[[Slot, HeldJob], None], grace: Grace | None = None) -> None:
        super().__init__()
        self.slots: list[Slot] = []
        """Whom to watch; the pool replaces entries."""
        self._on_stuck = on_stuck
        self._grace = grace or Grace()
        self._next_look = math.inf
        # Only the duty's own thread.
        self._raised: dict[int, tuple[HeldJob, float]] = {}

    def expect(self, deadline: float) -> None:
        """A handler with this deadline began. Costs a comparison unless it is the earliest of all."""
        if deadline < self._next_look:
            self.wake()

    def run_once(self) -> float:
        """Take the steps that are due and return how long there is nothing to do."""
        now = time.monotonic()
        announced = self._next_look if self._next_look > now else math.inf
        self._next_look = math.inf  # first, so that whoever begins from here on wakes us
        # A look that was announced still stands, though its job has ended: else every next job would have to wake us.
        next_look = min((self._look(slot, now) for slot in list(self.slots)), default=math.inf)
        self._next_look = min(next_look, announced)
        return FOREVER if self._next_look == math.inf else max(0.0, self._next_look - time.monotonic())

    def _look(self, slot: Slot, now: float) -> float:
        held = slot.running  # before the deadline, which is written first: a mix is refused by the slot
        if held is None or held.is_over or slot.deadline == math.inf:
            return math.inf
        raise_at = slot.deadline + self._grace.cooperative
        stuck_at = raise_at + self._grace.stuck
        if now >= stuck_at:
            self._on_stuck(slot, held)
            return math.inf
        if now < raise_at:
            return raise_at
        return min(stuck_at, self._raise(slot, held, now))

    def _raise(self, slot: Slot, held: HeldJob, now: float) -> float:
        """Raise in the handler's thread unless that was done a moment ago; return when to do it again."""
        last_held, last_time = self._raised.get(slot.index, (None, -math.inf))
        if last_held is not held or now >= last_time + self._grace.between_raises:
            slot.raise_in_handler(RaisedTimeout, held)
            self._raised[slot.index] = (held, now)
            last_time = now
        return last_time + self._grace.between_raises
