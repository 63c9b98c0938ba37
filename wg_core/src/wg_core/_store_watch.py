"""Says once that the store went away and once that it is back, whichever duty notices first."""

from __future__ import annotations

import logging
import math
import threading
import time
from types import TracebackType

from wg_core.errors import BackendError, BackendRejectedError, LeaseLostError

_log = logging.getLogger("wg.worker")


class StoreWatch:
    """Whether the store answers, as seen by all duties of one pool; thread-safe."""

    def __init__(self, *, brief_seconds: float = 0.0) -> None:
        """Let outages shorter than `brief_seconds` not count for `reachable_for`."""
        self._brief_seconds = brief_seconds
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._back_since = -math.inf

    @property
    def is_away(self) -> bool:
        """Whether the last call failed."""
        return self._away_since is not None

    def reachable_for(self) -> float:
        """Return for how many seconds the store has answered; infinity when it never failed, 0.0 while it is away."""
        with self._lock:
            return 0.0 if self._away_since is not None else time.monotonic() - self._back_since

    def call(self, operation: str) -> _Call:
        """Return a context manager to put around one call to the backend; it lets every error pass."""
        return _Call(self, operation)

    def answered(self) -> None:
        """Note that the store answered, with whatever."""
        if self._away_since is None:
            return
        with self._lock:
            away_since, self._away_since = self._away_since, None
            now = time.monotonic()
            if away_since is not None and now - away_since >= self._brief_seconds:
                self._back_since = now
        if away_since is not None:  # else another duty was faster
            _log.warning("the store is back after %.1f s", now - away_since)

    def failed(self, operation: str, error: BackendError) -> None:
        """Note that a call was not answered."""
        with self._lock:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        _log.warning("the store does not answer (%s: %s); running jobs go on, trying again", operation, error)


class _Call:
    __slots__ = ("_operation", "_watch")

    def __init__(self, watch: StoreWatch, operation: str) -> None:
        self._watch = watch
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, BackendRejectedError | LeaseLostError):
            self._watch.answered()  # a refusal is an answer too
        elif isinstance(error, BackendError):
            self._watch.failed(self._operation, error)
