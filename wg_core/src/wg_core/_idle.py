"""Whether there is nothing left to do in the queues of a worker."""

from __future__ import annotations

from collections.abc import Sequence

from wg_core._fetcher import Fetcher
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.errors import BackendError
from wg_core.protocol import Capability, QueueStats, Stats, StatsLevel

PROMOTE_LIMIT = 100


class IdleCheck:
    """Idle is: no ready, due or running job in the queues, whichever worker runs it. For one thread.

    Jobs that are scheduled or retry later do not count, nor do those of paused queues, which no worker may run.
    A store without the capability `inspect` is asked for jobs instead, so there another worker's running job is
    not seen.
    """

    def __init__(self, backend: Backend, store: StoreWatch, queues: Sequence[str] | None, fetcher: Fetcher) -> None:
        self._backend = backend
        self._store = store
        self._queues = queues
        self._fetcher = fetcher
        self._empty_answers = 0
        self._quiet_looks = 0
        self.found = "nothing was seen yet"
        """What the last look saw, for people."""

    def look(self, held: int) -> bool:
        """Look once; True when two looks in a row found nothing.

        `held` is how many jobs this worker holds. Once is not enough: a job may move between the questions.
        """
        try:
            quiet = held == 0 and self._is_store_quiet()
        except BackendError as error:
            self.found, quiet = f"the store does not answer: {error}", False
        if held:
            self.found = f"{held} jobs are held by this worker"
        self._quiet_looks = self._quiet_looks + 1 if quiet else 0
        return self._quiet_looks >= 2

    def _is_store_quiet(self) -> bool:
        with self._store.call("stats"):
            if not self._has_no_work():
                return False
            promoted = self._backend.promote(PROMOTE_LIMIT)  # what is due becomes ready, for the next look to see
        self.found = f"{promoted.moved} jobs were due"
        return promoted.moved == 0 and promoted.next_due_seconds != 0.0

    def _has_no_work(self) -> bool:
        if Capability.INSPECT not in self._backend.capabilities:
            return self._is_answered_empty()
        stats = self._backend.stats(StatsLevel.CHEAP)
        ready = sum(queue.ready for queue in self._ours(stats))
        if ready or not stats.running:
            self.found = f"{ready} jobs are ready"
            return not ready
        # Only an exact answer says whose the running jobs are; it may count millions that are scheduled.
        exact = self._ours(self._backend.stats(StatsLevel.EXACT))
        ready = sum(queue.ready for queue in exact)
        running = sum(queue.running or 0 for queue in exact)
        self.found = f"{ready} jobs are ready and {running} are running"
        return not ready and not running

    def _ours(self, stats: Stats) -> list[QueueStats]:
        names = stats.queues if self._queues is None else [name for name in self._queues if name in stats.queues]
        return [stats.queues[name] for name in names if not stats.queues[name].paused]

    def _is_answered_empty(self) -> bool:
        answers, self._empty_answers = self._empty_answers, self._fetcher.empty_answers
        self._backend.interrupt()  # the fetcher may be waiting for a long time
        self.found = "the store was not asked again yet"
        return self._fetcher.empty_answers > answers
