"""The supervisor: starts worker processes, keeps their leases alive, and gives their jobs back when they die.

It is a small process that imports no user code, so nothing that a handler does can stop it. Its main thread waits
for signals, messages and deaths (`_children`); the *renewer* beats for the children; the *retirer* gives back the
jobs of dead ones.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from wg_core._channel import Setup
from wg_core._child import STOP_MARGIN_SECONDS
from wg_core._children import Children, WorkerEvent
from wg_core._renewer import Renewer
from wg_core._retirer import Death, Retirer
from wg_core._signals import Wakeup
from wg_core._store_watch import StoreWatch
from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendError, BackendUnavailableError, ConfigError, SchemaError
from wg_core.protocol import Capability, Rescued
from wg_core.registry import open_backend, redact
from wg_core.settings import WorkerSettings

_log = logging.getLogger("wg.supervisor")

CLEAN = 0
FORCED = 1
UNREACHABLE = 3
SCHEMA = 4
IMPORT = 5

START_PAUSES_SECONDS = (0.25, 0.75)
"""The store is asked once more after each of these before the start is given up."""


class Supervisor:
    """Runs `settings.processes` worker processes until it is told to stop, or (burst) until nothing is left to do.

    `modules` are imported by the worker processes and define the handlers. `on_event` hears what happens to the
    processes, from several threads; it must return quickly. Raises ConfigError for backend options that are not
    plain JSON values.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        settings: WorkerSettings,
        modules: Sequence[str] = (),
        backend_options: Mapping[str, Any] | None = None,
        on_event: Callable[[WorkerEvent], None] | None = None,
    ) -> None:
        self._url = url
        self._namespace = namespace
        self._settings = settings
        self._modules = tuple(modules)
        self._backend_options = dict(backend_options or {})
        _check_can_travel(self._backend_options)
        self._on_event = on_event
        self._wakeup: Wakeup | None = None
        self._stops_asked = 0
        """Raised by signal handlers and `stop`; the main loop acts on it."""

    def run(self) -> int:
        """Work until the end; return the exit code of the process.

        0 clean, 1 forced or interrupted, 3 store unreachable at start, 4 schema missing or too old or new, 5 a
        handler module cannot be imported; each but the first with one line in the log. The first SIGTERM or SIGINT
        stops (running handlers get `shutdown_timeout`), the second gives their jobs back at once. Outside the main
        thread signals are not listened to.

        Raises ConfigError when the store cannot be shared by several processes, UnknownBackendError when nothing
        serves the URL. Once only.
        """
        with contextlib.closing(Wakeup()) as wakeup, self._open() as backend:
            self._wakeup = wakeup
            handlers = {
                signal.SIGTERM: self._ask_stop,
                signal.SIGINT: self._ask_stop,
                signal.SIGCHLD: wakeup.ignore,  # the wake-up is enough: the loop looks at all children anyway
            }
            with wakeup.on_signals(handlers), selectors.DefaultSelector() as selector:
                selector.register(wakeup, selectors.EVENT_READ)
                return self._reach(backend, selector) or self._supervise(backend, wakeup, selector)

    def stop(self) -> None:
        """Do what SIGTERM does; the second call what the second signal does. From any thread, returns at once."""
        self._ask_stop()
        if self._wakeup is not None:
            self._wakeup.wake()

    # ------------------------------------------------------------------ start

    def _open(self) -> Backend:
        backend = open_backend(self._url, namespace=self._namespace, **self._backend_options)
        if Capability.MULTI_PROCESS in backend.capabilities:
            return backend
        backend.close()
        raise ConfigError(
            f"{redact(self._url)!r} lives in one process, worker processes cannot share it: "
            "use a file, such as 'sqlite:jobs.db', or a server; or run WorkerPool inside your own process"
        )

    def _reach(self, backend: Backend, selector: selectors.BaseSelector) -> int:
        """Make sure that the store is there and fits; return the exit code if not."""
        for pause in (*START_PAUSES_SECONDS, None):
            try:
                backend.beat(())  # a first use: makes the tables if that is due and wanted
            except SchemaError as error:
                _log.error("%s", error)
                return SCHEMA
            except (BackendUnavailableError, AmbiguousResultError) as error:
                if pause is None or self._stopped_within(pause, selector):
                    _log.error("cannot reach %s: %s", redact(self._url), error)
                    return FORCED if self._stops_asked else UNREACHABLE
            except BackendError as error:
                _log.error("%s refuses: %s", redact(self._url), error)
                return UNREACHABLE
            else:
                break
        return CLEAN

    def _stopped_within(self, seconds: float, selector: selectors.BaseSelector) -> bool:
        if not self._stops_asked:
            selector.select(seconds)
        return self._stops_asked > 0

    # ------------------------------------------------------------------ work

    def _supervise(self, backend: Backend, wakeup: Wakeup, selector: selectors.BaseSelector) -> int:
        watch = StoreWatch()
        retirer = Retirer(backend, watch, self._tell_retired)
        renewer = Renewer(backend, watch, self._settings, lambda: children.snapshot, wakeup.wake)
        children = Children(
            self._setup_of,
            self._settings.processes,
            selector,
            stop_seconds=self._settings.shutdown_timeout + STOP_MARGIN_SECONDS,
            on_ready=renewer.wake,
            on_death=retirer.add,
            on_event=self._tell,
        )
        renewer.start()
        retirer.start()
        try:
            return self._watch_over(children, wakeup, selector)
        finally:
            # Beats stop after the last child, retires after the last death.
            renewer.stop()
            self._settle(retirer)
            renewer.join(STOP_MARGIN_SECONDS)

    def _watch_over(self, children: Children, wakeup: Wakeup, selector: selectors.BaseSelector) -> int:
        stops_heard = 0
        while True:
            wakeup.clear()
            if self._stops_asked > stops_heard:
                stops_heard = self._stops_asked
                self._stop(children, now=stops_heard > 1)
            look_seconds = children.turn()
            if children.import_error and not children.is_stopping:
                _log.error("%s", children.import_error)
                children.stop(now=False, within_seconds=STOP_MARGIN_SECONDS)
            if children.is_over:
                break
            selector.select(min(look_seconds, self._settings.heartbeat))
        if children.import_error:
            return IMPORT
        return FORCED if children.was_forced else CLEAN

    def _stop(self, children: Children, *, now: bool) -> None:
        timeout = 0.0 if now else self._settings.shutdown_timeout
        if now:
            _log.warning("stopping now: running jobs go back")
        else:
            _log.info("stopping: running jobs get %g s", timeout)
        children.stop(now=now, within_seconds=timeout + STOP_MARGIN_SECONDS)

    def _settle(self, retirer: Retirer) -> None:
        retirer.finish(STOP_MARGIN_SECONDS)
        if retirer.unsettled:
            _log.warning(
                "the store did not hear of %d ended workers; what they held returns when their leases run out",
                retirer.unsettled,
            )

    def _setup_of(self, worker: str) -> Setup:
        return Setup(
            url=self._url,
            namespace=self._namespace,
            options=self._backend_options,
            settings=self._settings,
            modules=self._modules,
            worker=worker,
            log_level=logging.getLogger().level,
        )

    # ------------------------------------------------------------------ signals and events

    def _ask_stop(self, *_: object) -> None:
        self._stops_asked += 1

    def _tell(self, event: WorkerEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - whoever watches must not be able to stop the work
            _log.exception("on_event failed")

    def _tell_retired(self, death: Death, rescued: list[Rescued]) -> None:
        states = Counter(job.state for job in rescued)
        summary = f"{len(rescued)} jobs settled" + "".join(f", {states[state]} {state}" for state in sorted(states))
        if rescued:
            _log.warning("worker %s retired: %s", death.worker, summary)
        self._tell(WorkerEvent("retired", death.pid, death.worker, summary))


def _check_can_travel(backend_options: Mapping[str, Any]) -> None:
    try:
        msgspec.json.encode(backend_options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"backend options must be plain JSON values to reach worker processes: {error}") from error
