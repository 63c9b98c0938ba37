"""Handlers: functions that run jobs, declared with `@job`, and the registry in which workers find them by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

import msgspec

from wg_core import config
from wg_core._definition import are_one, check_body, name_of, place_of
from wg_core._payload import Parameters
from wg_core.errors import ConfigError
from wg_core.handle import JobHandle
from wg_core.options import JobOptions, OptionKeywords, refuse_unknown, refuse_unsupported
from wg_core.outgoing import Job
from wg_core.settings import Seconds
from wg_core.validation import check_name

P = ParamSpec("P")
R = TypeVar("R")


class JobFunction(Generic[P, R]):
    """A handler: calling it runs its body here and now; `enqueue` has a worker run it. Thread-safe.

    Arguments are checked when the job is made: PayloadError names the parameter or the path of the value at fault.
    """

    def __init__(
        self, body: Callable[P, R], *, name: str | None = None, aliases: Iterable[str] = (), options: JobOptions
    ) -> None:
        check_body(body)
        functools.update_wrapper(self, body, updated=())
        self.body = body
        self.name = check_name(name_of(body) if name is None else name)
        self.aliases = _checked_aliases(aliases)
        self.options = options
        self.parameters = Parameters(self.name, body)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the body, as if it were no job."""
        return self.body(*args, **kwargs)

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Return an unsent job, for `client.enqueue`, `schedule` or `enqueue_many`."""
        return Job(self.name, self.parameters.encode(args, kwargs), self.options)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Send a job to the configured store; blocks for one round trip. Raises as `Client.enqueue` does."""
        return config.default_client().enqueue(self.job(*args, **kwargs))

    def using(self, *, connection: Any = None, **options: Unpack[OptionKeywords]) -> JobVariant[P, R]:
        """Return the same handler with some options changed for the jobs that are made through it.

        With `connection`, `enqueue` joins the transaction of that connection.
        """
        return JobVariant(self, self.options.merged(JobOptions.of(**options)), connection)

    def run(self, args: msgspec.Raw | bytes) -> Any:
        """Run the body with stored arguments, for workers; PayloadError when they do not fit its annotations."""
        return self.parameters.call(self.body, args)

    @property
    def definition(self) -> str:
        """Where the body is written, as `module:line`."""
        return place_of(self.body)

    def __repr__(self) -> str:
        return f"<handler {self.name!r} of {self.definition}>"


class JobVariant(Generic[P, R]):
    """A handler with some options changed, as `JobFunction.using` returns it."""

    __slots__ = ("_connection", "_function", "options")

    def __init__(self, function: JobFunction[P, R], options: JobOptions, connection: Any) -> None:
        self._function = function
        self._connection = connection
        self.options = options

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Return an unsent job with these options."""
        return Job(self._function.name, self._function.parameters.encode(args, kwargs), self.options)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Send a job with these options to the configured store; blocks for one round trip."""
        return config.default_client().enqueue(self.job(*args, **kwargs), connection=self._connection)


class HandlerRegistry:
    """Handlers by name, by alias, and by the class they claim. Filled while modules are imported, then only read."""

    def __init__(self) -> None:
        self._by_name: dict[str, JobFunction[..., Any]] = {}
        self._by_class: dict[type, JobFunction[..., Any]] = {}
        self._unresolved: list[JobFunction[..., Any]] = []

    @classmethod
    def of(cls, handlers: Iterable[JobFunction[..., Any]]) -> HandlerRegistry:
        """Return a registry of just these handlers; ConfigError as from `add`."""
        registry = cls()
        for handler in handlers:
            registry.add(handler)
        return registry

    def add(self, handler: JobFunction[..., Any]) -> None:
        """Add a handler; one from the same definition (a module that is loaded again) is replaced.

        Raises ConfigError, naming both definitions, when its name, an alias or its class is taken.
        """
        if not isinstance(handler, JobFunction):
            raise ConfigError(f"a handler is a function decorated with @job, got {handler!r}")
        names = (handler.name, *handler.aliases)
        for name in names:
            _refuse_if_taken(f"the job name {name!r}", self._by_name.get(name), handler)
        self._forget_earlier(handler)
        try:
            self._claim_class(handler)
        except NameError:  # the annotation names a class that is defined further down
            self._unresolved.append(handler)
        self._by_name.update(dict.fromkeys(names, handler))

    def find(self, name: str) -> JobFunction[..., Any] | None:
        """Return the handler of that name or alias, or None."""
        return self._by_name.get(name)

    def find_for_class(self, cls: type) -> JobFunction[..., Any] | None:
        """Return the handler whose only parameter is of exactly this class, or None.

        Raises ConfigError when a second handler turns out to claim the class.
        """
        if cls not in self._by_class:
            self._claim_unresolved()
        return self._by_class.get(cls)

    def names(self) -> list[str]:
        """Return the names of the handlers, sorted, without their aliases."""
        return sorted({handler.name for handler in self._by_name.values()})

    def _claim_class(self, handler: JobFunction[..., Any]) -> None:
        claimed = handler.parameters.claimed_class()
        if claimed is not None:
            _refuse_if_taken(f"the class {claimed.__qualname__!r}", self._by_class.get(claimed), handler)
            self._by_class[claimed] = handler

    def _claim_unresolved(self) -> None:
        still_unresolved = []
        for handler in self._unresolved:
            try:
                self._claim_class(handler)
            except NameError:
                still_unresolved.append(handler)
        self._unresolved = still_unresolved

    def _forget_earlier(self, handler: JobFunction[..., Any]) -> None:
        self._by_name = {name: other for name, other in self._by_name.items() if not _replaces(handler, other)}
        self._by_class = {cls: other for cls, other in self._by_class.items() if not _replaces(handler, other)}
        self._unresolved = [other for other in self._unresolved if not _replaces(handler, other)]


default_registry = HandlerRegistry()
"""Where `@job` adds handlers unless it is told another registry."""


@overload
def job(body: Callable[P, R], /) -> JobFunction[P, R]: ...


@overload
def job(
    *,
    name: str | None = None,
    queue: str = ...,
    priority: int = ...,
    max_retries: int = ...,
    retry_delay: Seconds = ...,
    timeout: Seconds | None = ...,
    at_most_once: bool = ...,
    expires_in: Seconds | None = ...,
    headers: Mapping[str, str] = ...,
    aliases: Iterable[str] = (),
    registry: HandlerRegistry | None = None,
    cron: str | None = None,
    every: Seconds | None = None,
    timezone: str | None = None,
    unique: Any = None,
    result_ttl: Seconds | None = None,
) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...


def job(
    body: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    aliases: Iterable[str] = (),
    registry: HandlerRegistry | None = None,
    **options: Any,
) -> JobFunction[P, R] | Callable[[Callable[P, R]], JobFunction[P, R]]:
    """Make a function a handler, with the options of its jobs (`JobOptions` tells their defaults and units).

    `name` is the function's own unless given; `aliases` are earlier names, under which jobs may still be waiting.
    The handler is added to `registry`, or to the one of this process, which its workers use. `cron`, `every`,
    `timezone`, `unique` and `result_ttl` are not in this version.

    Raises ConfigError for what is no plain function, for wrong options, and for a name or class that is taken.
    """
    declared = _declared_options(options)

    def decorate(body: Callable[P, R]) -> JobFunction[P, R]:
        handler = JobFunction(body, name=name, aliases=aliases, options=declared)
        (default_registry if registry is None else registry).add(handler)
        return handler

    return decorate if body is None else decorate(body)


_SCHEDULE_OPTIONS = ("cron", "every", "timezone")
_ONE_JOB_OPTIONS = ("id", "delay", "run_at")
_OTHER_OPTIONS = ("name", "aliases", "registry", *_SCHEDULE_OPTIONS)


def _declared_options(options: dict[str, Any]) -> JobOptions:
    refuse_unknown(options, (*JobOptions.__struct_fields__, *_OTHER_OPTIONS))
    for option in _SCHEDULE_OPTIONS:
        refuse_unsupported(option, options.pop(option, None))
    for option in _ONE_JOB_OPTIONS:
        if option in options:
            raise ConfigError(f"{option} belongs to one job, not to its handler: write using({option}=…)")
    return JobOptions(**options)


def _checked_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    if isinstance(aliases, str):
        raise ConfigError(f"aliases must be a list of names, got the string {aliases!r}; write [{aliases!r}]")
    return tuple(check_name(alias) for alias in aliases)


def _replaces(handler: JobFunction[..., Any], other: JobFunction[..., Any]) -> bool:
    return other.name == handler.name and are_one(other.body, handler.body)


def _refuse_if_taken(what: str, holder: JobFunction[..., Any] | None, handler: JobFunction[..., Any]) -> None:
    if holder is not None and holder is not handler and not _replaces(handler, holder):
        raise ConfigError(f"{what} is taken twice: by {_described(holder)} and by {_described(handler)}")


def _described(handler: JobFunction[..., Any]) -> str:
    return f"{handler.body.__qualname__} ({handler.definition})"
