"""`@job`, and the registry of handlers."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import pytest

from wg_core import ConfigError, HandlerRegistry, JobFunction, JobOptions, PayloadError, job
from wg_core.errors import UnsupportedError
from wg_core.handlers import default_registry

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Parcel:
    weight: float


@dataclass
class Letter:
    text: str


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


def send(to: str, *, copies: int = 1) -> str:
    """Send it."""
    return f"{to} x{copies}"


def test_a_handler_is_still_a_function(registry: HandlerRegistry) -> None:
    handler = job(registry=registry)(send)
    assert handler("ada", copies=2) == "ada x2"
    assert (handler.__name__, handler.__doc__, handler.__wrapped__) == ("send", "Send it.", send)


def test_a_handler_is_named_as_its_function_unless_told_otherwise(registry: HandlerRegistry) -> None:
    assert job(registry=registry)(send).name == "send"
    assert job(registry=registry, name="mail.send")(send).name == "mail.send"
    assert registry.names() == ["mail.send", "send"]


def test_without_a_registry_handlers_go_to_the_one_of_the_process() -> None:
    @job
    def test_only_handler() -> None: ...

    assert default_registry.find("test_only_handler") is test_only_handler


def test_a_handler_is_found_by_its_name_and_its_earlier_names(registry: HandlerRegistry) -> None:
    handler = job(registry=registry, aliases=["post", "deliver"])(send)
    assert [registry.find(name) for name in ("send", "post", "deliver", "other")] == [handler, handler, handler, None]
    assert registry.names() == ["send"]


def test_the_options_of_a_handler_are_those_it_declares(registry: HandlerRegistry) -> None:
    handler = job(registry=registry, queue="mail", timeout=None, max_retries=0)(send)
    assert handler.options == JobOptions(queue="mail", timeout=None, max_retries=0)
    assert handler.job("ada").options == handler.options
    assert handler.using(queue="fast", delay=5).job("ada").options == JobOptions(
        queue="fast", timeout=None, max_retries=0, delay=5
    )


@pytest.mark.parametrize("option", ["cron", "every", "timezone", "unique", "result_ttl"])
def test_options_of_later_versions_are_refused_by_name(option: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{option} is not in this version of wg"):
        job(**{option: "x"})


@pytest.mark.parametrize("option", ["id", "delay", "run_at"])
def test_what_belongs_to_one_job_is_no_option_of_a_handler(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} belongs to one job.*using"):
        job(**{option: "x"})


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="unknown job option 'quue', did you mean 'queue'"):
        job(quue="mail")
    with pytest.raises(ConfigError, match="unknown job option 'alias', did you mean 'aliases'"):
        job(alias="mail")


def test_one_alias_is_written_as_a_list(registry: HandlerRegistry) -> None:
    with pytest.raises(ConfigError, match="aliases must be a list of names, got the string 'post'"):
        job(aliases="post", registry=registry)(send)


def test_a_name_taken_twice_names_both_definitions(registry: HandlerRegistry) -> None:
    job(registry=registry)(send)

    def other() -> None: ...

    with pytest.raises(ConfigError) as caught:
        job(registry=registry, name="send")(other)
    assert str(caught.value).startswith(f"the job name 'send' is taken twice: by send ({__name__}:")
    assert f"other ({__name__}:" in str(caught.value)
    assert registry.find("send").body is send


def test_an_alias_may_not_be_the_name_of_another(registry: HandlerRegistry) -> None:
    job(registry=registry)(send)

    def other() -> None: ...

    with pytest.raises(ConfigError, match="the job name 'send' is taken twice"):
        job(registry=registry, aliases=["send"])(other)


def test_a_class_claimed_twice_names_both_definitions(registry: HandlerRegistry) -> None:
    @job(registry=registry)
    def weigh(parcel: Parcel) -> None: ...

    def price(parcel: Parcel) -> None: ...

    with pytest.raises(ConfigError, match=r"the class 'Parcel' is taken twice: by .*weigh .* and by .*price"):
        job(registry=registry)(price)
    assert registry.find_for_class(Parcel) is weigh


def test_only_a_single_parameter_of_a_class_claims_it(registry: HandlerRegistry) -> None:
    @job(registry=registry)
    def weigh(parcel: Parcel, scale: str = "kitchen") -> None: ...

    @job(registry=registry)
    def many(parcels: list[Parcel]) -> None: ...

    @job(registry=registry)
    def plain(text: str) -> None: ...

    assert registry.find_for_class(Parcel) is None
    assert registry.find_for_class(str) is None


def test_structs_claim_their_class_too(registry: HandlerRegistry) -> None:
    class Note(msgspec.Struct):
        text: str

    def keep(note: Any) -> None: ...

    keep.__annotations__["note"] = Note
    handler = job(registry=registry)(keep)
    assert registry.find_for_class(Note) is handler


def test_a_class_that_is_defined_after_its_handler_is_claimed_all_the_same(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job(registry=registry)
    def later(thing: DefinedLater) -> None: ...  # noqa: F821 - not defined yet

    assert registry.find_for_class(Letter) is None
    monkeypatch.setitem(globals(), "DefinedLater", Letter)
    assert registry.find_for_class(Letter) is later


def test_an_annotation_that_cannot_be_resolved_is_named_at_the_first_job(registry: HandlerRegistry) -> None:
    @job(registry=registry)
    def lost(thing: NowhereDefined) -> None: ...  # noqa: F821 - the mistake under test

    with pytest.raises(ConfigError, match=r"annotation of job 'lost' cannot be resolved: name 'NowhereDefined'"):
        lost.job(3)


def test_an_annotation_that_json_cannot_tell_apart_is_named_at_the_first_job(registry: HandlerRegistry) -> None:
    @job(registry=registry)
    def unclear(thing: Parcel | Letter) -> None: ...

    with pytest.raises(ConfigError, match="the annotations of job 'unclear' cannot be read from JSON"):
        unclear.job(Parcel(1.0))


async def coroutine() -> None: ...


async def async_generator() -> Any:
    yield 1


def generator() -> Iterator[int]:
    yield 1


class Office:
    def method(self) -> None: ...

    @classmethod
    def of(cls) -> None: ...

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (coroutine, "is async; handlers run in threads"),
        (async_generator, "is async"),
        (generator, "is a generator"),
        (Office.method, r"job 'Office\.method' .* is a method"),
        (Office.of, "@job decorates functions"),
        (Office().method, "@job decorates functions"),
        (Office(), "@job decorates functions"),
        (Office, "@job decorates functions"),
        (len, "@job decorates functions"),
        (functools.partial(send, "ada"), "@job decorates functions"),
        (3, "@job decorates functions, got 3"),
        (lambda: None, r"a lambda \(.*\) has no name of its own: pass name="),
    ],
)
def test_what_a_worker_could_not_call_is_refused(body: Any, expected: str, registry: HandlerRegistry) -> None:
    with pytest.raises(ConfigError, match=expected):
        job(registry=registry)(body)
    assert registry.names() == []


def rest(*items: int) -> None: ...


def options(**items: int) -> None: ...


def nameless(item: int, /) -> None: ...


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rest, r"cannot take \*items: .*take a list instead"),
        (options, r"cannot take \*\*items: .*take a dict instead"),
        (nameless, "cannot take item: .*remove the '/'"),
    ],
)
def test_parameters_without_declared_names_are_refused(
    body: Callable[..., None], expected: str, registry: HandlerRegistry
) -> None:
    with pytest.raises(ConfigError, match=expected):
        job(registry=registry)(body)


def test_a_lambda_with_a_name_is_a_handler(registry: HandlerRegistry) -> None:
    handler: JobFunction[..., int] = job(name="seven", registry=registry)(lambda: 7)
    assert handler.run(b"{}") == 7


def test_a_wrapper_that_keeps_the_signature_may_stand_between(registry: HandlerRegistry) -> None:
    def logged(body: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(body)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            seen.append("called")
            return body(*args, **kwargs)

        return wrapper

    seen: list[str] = []
    handler = job(registry=registry)(logged(send))
    assert handler.run(handler.job("ada", copies=3).args) == "ada x3"
    assert seen == ["called"]
    with pytest.raises(PayloadError, match=r"\$\.copies"):
        handler.job("ada", copies="many")


def test_attributes_of_the_function_do_not_replace_those_of_the_handler(registry: HandlerRegistry) -> None:
    def marked() -> str:
        return "body"

    vars(marked).update(run="mine", job="mine")
    assert job(registry=registry)(marked).run(b"{}") == "body"


def test_a_registry_of_handlers_holds_just_these(registry: HandlerRegistry) -> None:
    handler = job(registry=registry)(send)
    assert HandlerRegistry.of([handler]).names() == ["send"]
    with pytest.raises(ConfigError, match="a handler is a function decorated with @job, got <function send"):
        HandlerRegistry.of([send])


def test_a_module_that_is_loaded_again_replaces_its_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "reloaded_jobs.py"
    source.write_text("from wg_core import job\n\n@job(aliases=['old_tick'])\ndef tick() -> int:\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_jobs")
    source.write_text("from wg_core import job\n\n\n@job\ndef tick() -> int:\n    return 22\n")
    importlib.reload(module)
    handler = default_registry.find("tick")
    assert handler is not None
    assert handler.run(b"{}") == 22
    assert default_registry.find("old_tick") is None


def test_a_script_that_is_also_imported_is_one_definition(registry: HandlerRegistry) -> None:
    def twin() -> None: ...

    job(registry=registry)(twin)
    as_script = type(twin)(twin.__code__, twin.__globals__)
    as_script.__module__, as_script.__qualname__ = "__main__", twin.__qualname__
    job(registry=registry)(as_script)
    assert registry.find("twin").body is as_script


def test_handlers_made_in_a_loop_are_told_apart_by_their_names(registry: HandlerRegistry) -> None:
    def make(number: int) -> JobFunction[[], int]:
        @job(name=f"sync_{number}", registry=registry)
        def sync() -> int:
            return number

        return sync

    handlers = [make(number) for number in range(3)]
    assert [handler.run(b"{}") for handler in handlers] == [0, 1, 2]
    assert registry.names() == ["sync_0", "sync_1", "sync_2"]


def test_a_handler_shows_where_it_is_defined(registry: HandlerRegistry) -> None:
    handler = job(registry=registry)(send)
    assert handler.definition == f"{__name__}:{send.__code__.co_firstlineno}"
    assert repr(handler) == f"<handler 'send' of {handler.definition}>"
