"""Reserves jobs ahead of the threads, but never more than they can start soon."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from wg_core._buffer import JobBuffer
from wg_core._held import HeldJob, Lease
from wg_core._prefetch import Prefetch
from wg_core._reporter import Reporter
from wg_core._service import Service
from wg_core.backend import Backend
from wg_core.backoff import draw
from wg_core.errors import LeaseLostError
from wg_core.outcome import Release
from wg_core.settings import WorkerSettings

_log = logging.getLogger("wg.worker")

LOOK_SECONDS = 0.25
"""How often the fetcher looks whether what it buffered is still warranted."""

UNREPORTED_BATCHES = 10
"""With this many batches of outcomes unreported nothing more is fetched: the store is slow or away."""

SUSPECT_PAUSE_SECONDS = 1.5
"""For how long a suspect that cannot run here soon is left to other workers, ± a third."""

HINT_SECONDS = 0.02
"""A wait that ends sooner than this without a job was a false hint; several in a row are slowed down."""


class Fetcher(Service):
    """Keeps the buffer as full as the pace of the handlers warrants. The only caller of `Backend.wait`."""

    name = "fetcher"

    def __init__(
        self,
        backend: Backend,
        settings: WorkerSettings,
        lease: Callable[[], Lease],
        *,
        buffer: JobBuffer,
        reporter: Reporter,
        prefetch: Prefetch,
    ) -> None:
        super().__init__()
        self._backend = backend
        self._queues: Sequence[str] | None = settings.queues
        self._timeout = settings.fetch_timeout
        self._batch_size = settings.batch_size
        self._buffer = buffer
        self._reporter = reporter
        self._prefetch = prefetch
        self._lease = lease
        self._false_hints = 0  # only the fetcher's own thread
        self._rest = threading.Event()
        self.empty_answers = 0
        """How often the store had nothing, ever."""

    def stop(self) -> None:
        """Ask the fetcher to end, also in the middle of a wait."""
        super().stop()
        self._rest.set()
        self._buffer.hungry.set()
        self._backend.interrupt()

    def run_once(self) -> float:
        """Fetch one batch, or wait until one may be fetched."""
        self._buffer.hungry.clear()
        target = self._buffer.idle + self._prefetch.jobs_ahead()
        self._buffer.low_mark = target // 2
        self._give_back_excess(target)
        room = target - self._buffer.waiting
        lease = self._lease()
        if lease.lost or not (lease.has_open_reserve or self._may_fetch(room)):
            self._buffer.hungry.wait(LOOK_SECONDS)
            return 0.0
        try:
            held = lease.reserve(self._queues, max(1, min(room, self._batch_size)))
        except LeaseLostError:
            self._buffer.hungry.wait(LOOK_SECONDS)  # the next beat renews the lease, or says that it is gone
            return 0.0
        if held:
            self._false_hints = 0
            self._deliver(held)
        else:
            self.empty_answers += 1
            self._wait_for_work()
        return 0.0

    def _may_fetch(self, room: int) -> bool:
        is_hungry = room > 0 and self._buffer.waiting <= self._buffer.low_mark
        return is_hungry and self._reporter.unreported < UNREPORTED_BATCHES * self._batch_size

    def _deliver(self, held: Sequence[HeldJob]) -> None:
        if not self._buffer.put(held):
            for one in held:
                self._give_back(one, 0.0)
        elif self._buffer.suspects_waiting:
            self._give_back_suspects()

    def _give_back_excess(self, target: int) -> None:
        """The handlers became slower than what was fetched for: let other workers have the rest.

        Twice the target is tolerated, so that a single slow moment gives nothing back.
        """
        if self._buffer.waiting > 2 * target:
            for held in self._buffer.remove(self._buffer.waiting - target):
                self._give_back(held, 0.0)
        if self._buffer.suspects_waiting:
            self._give_back_suspects()

    def _give_back_suspects(self) -> None:
        """Suspects run one at a time, so few can start soon. The delay leaves them to workers that are free."""
        excess = self._buffer.suspects_waiting - self._prefetch.suspects_ahead(self._buffer.suspect_runs_for())
        for held in self._buffer.remove_suspects(max(0, excess)):
            self._give_back(held, SUSPECT_PAUSE_SECONDS * (1.0 + draw() / 3.0))

    def _give_back(self, held: HeldJob, delay_seconds: float) -> None:
        held.is_over = True
        self._reporter.submit(held, Release(id=held.job.id, lease_no=held.job.lease_no, delay_seconds=delay_seconds))

    def _wait_for_work(self) -> None:
        began = time.monotonic()
        is_empty = not (self._buffer.waiting or self._buffer.suspects_waiting)
        self._backend.wait(self._queues, self._timeout if is_empty else min(self._timeout, LOOK_SECONDS))
        if time.monotonic() - began >= HINT_SECONDS:
            self._false_hints = 0
            return
        self._false_hints += 1
        if self._false_hints > 1:
            self._rest.wait(min(LOOK_SECONDS, 0.001 * 2.0 ** min(self._false_hints, 10)))
