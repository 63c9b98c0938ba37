"""Arguments on their way into a store and back."""

from __future__ import annotations

import enum
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import pytest

from wg_core import HandlerRegistry, JobFunction, PayloadError, job
from wg_core._payload import encode_named

NAN, INFINITY = float("nan"), float("inf")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass
class Address:
    street: str
    tags: list[str] = field(default_factory=list)


@dataclass
class Person:
    name: str
    address: Address | None = None


@dataclass
class Employee(Person):
    salary: int = 0


@dataclass(eq=False)
class Incomparable:
    value: int


class Note(msgspec.Struct):
    text: str
    at: datetime


class Options(TypedDict, total=False):
    deep: bool


class Point(NamedTuple):
    x: int
    y: int


class Model:
    """Speaks the protocol of pydantic's models, as far as it is used."""

    model_fields: ClassVar = {"size": None}

    def __init__(self, size: Any) -> None:
        self.size = size

    def model_dump(self, **how: Any) -> dict[str, Any]:
        assert how == {"mode": "json", "by_alias": True, "round_trip": True}
        return {"size": self.size}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        size = value.get("size") if isinstance(value, dict) else None
        if not isinstance(size, int | float):
            raise ValueError("size must be a number")  # noqa: TRY004 - what pydantic raises
        return cls(size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.size == other.size

    __hash__ = None


def echo_of(annotation: Any) -> JobFunction[..., Any]:
    """A handler with one parameter of that type, which returns what it was given."""

    def echo(value: Any) -> Any:
        return value

    echo.__annotations__["value"] = annotation
    return job(registry=HandlerRegistry())(echo)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "naïve 日本 🦜 \x00 \" ' % :"),
        (int, 2**63),
        (int, -(2**70)),
        (float, 0.1),
        (float, 1),
        (bool, True),
        (str | None, None),
        (bytes, bytes(range(256))),
        (datetime, datetime(2026, 3, 29, 2, 30, 0, 123456)),  # noqa: DTZ001 - a handler may want wall time
        (datetime, datetime(2026, 3, 29, 12, tzinfo=UTC)),
        (datetime, datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Madrid"))),
        (date, date(2026, 1, 1)),
        (time, time(12, 30)),
        (timedelta, timedelta(days=3, microseconds=7)),
        (uuid.UUID, uuid.UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (list[int], [1, 2]),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"a"})),
        (dict[str, list[int]], {"a": [1]}),
        (dict[int, str], {1: "a"}),
        (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}),
        (Address, Address("Calle Mayor", ["home"])),
        (Person, Person("Ada", Address("x"))),
        (list[Person], [Person("Ada"), Person("Bo", Address("y"))]),
        (Note, Note("hi", datetime(2026, 1, 1, tzinfo=UTC))),
        (Options, {"deep": True}),
        (Point, Point(1, 2)),
        (Model, Model(3)),
        (list[Model], [Model(3), Model(4.5)]),
        (Annotated[int, msgspec.Meta(ge=0)], 3),
        (Any, {"a": [1, 2.5, None, True, "x", {"b": []}]}),
        (object, {"a": 1}),
    ],
)
def test_what_the_handler_receives_equals_what_was_given(annotation: Any, value: Any) -> None:
    handler = echo_of(annotation)
    received = handler.run(handler.job(value).args)
    assert received == value
    if annotation not in (float, object):
        assert type(received) is type(value)


def test_values_that_do_not_compare_are_compared_part_by_part() -> None:
    handler = echo_of(Incomparable)
    assert handler.run(handler.job(Incomparable(3)).args).value == 3
    with pytest.raises(PayloadError, match=r"\$\.value\.value"):
        handler.job(Incomparable(NAN))


def test_a_tuple_without_a_type_arrives_as_a_list() -> None:
    handler = echo_of(Any)
    assert handler.run(handler.job((1, ("a",))).args) == [1, ["a"]]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({1}, "$.value is a set, and would arrive as a list"),
        (NAN, "$.value is nan"),
        ([1.0, INFINITY], "$.value[1] is inf"),
        ({"a": {"b c": -INFINITY}}, "$.value.a['b c'] is -inf"),
        ({1: "a"}, "$.value has the key 1, an int; keys are strings"),
        ({"x": {None: "a"}}, "$.value.x has the key None, null; keys are strings"),
        ({(1, 2): "a"}, "$.value has the key (1, 2), a tuple; keys are strings"),
        (object(), "$.value is an object"),
        ([{"when": datetime(2026, 1, 1, tzinfo=UTC)}], "$.value[0].when is a datetime, and would arrive as a str"),
        (b"x", "$.value is a bytes, and would arrive as a str"),
        (Decimal(1), "$.value is a Decimal, and would arrive as a str"),
        (Person("Ada"), "$.value is a Person, and would arrive as a dict"),
        (Point(1, 2), "$.value is a Point, and would arrive as a list"),
        ("\ud800", "$.value is a str with lone surrogates"),
        ({"\ud800": 1}, "$.value has a key with lone surrogates"),
        (print, "$.value is a builtin_function_or_method"),
        (sys, "$.value is a module"),
        ((number for number in [1]), "$.value is a generator"),
        ([{1}, NAN, object()], "$.value[1] is nan"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: Any, fault: str) -> None:
    with pytest.raises(PayloadError) as caught:
        echo_of(Any).job(value)
    assert str(caught.value) == f"payload of 'echo' must be JSON: {fault}"
    assert caught.value.job_name == "echo"


def test_a_payload_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PayloadError, match="nested too deeply, or holds itself"):
        echo_of(Any).job(endless)


@pytest.mark.parametrize(
    ("annotation", "value", "fault"),
    [
        (str, 1, "does not fit its handler: Expected `str`, got `int` - at `$.value`"),
        (str, None, "got `null` - at `$.value`"),
        (int, "1", "Expected `int`, got `str`"),
        (int, True, "Expected `int`, got `bool`"),
        (int, 1.5, "Expected `int`, got `float`"),
        (float, NAN, "must be JSON: $.value is nan"),
        (float | None, INFINITY, "must be JSON: $.value is inf"),
        (datetime, {1}, "must be JSON: $.value is a set"),
        (datetime, "tomorrow", "Invalid RFC3339 encoded datetime - at `$.value`"),
        (list[int], {1}, "must be JSON: $.value is a set, and would arrive as a list"),
        (Colour, "blue", "Invalid enum value 'blue'"),
        (list[str], ["a", 2], "Expected `str`, got `int` - at `$.value[1]`"),
        (Person, Employee("Ada", None, 3), "$.value is an Employee, and would arrive as a Person"),
        (Person, Address("x"), "Object missing required field `name` - at `$.value`"),
        (Person, Person("Ada", Address(3)), "Expected `str`, got `int` - at `$.value.address.street`"),
        (Model, Model(NAN), "must be JSON: $.value.size is nan"),
        (Model, Model("wide"), "size must be a number - at `$.value`"),
        (Model, 3, "size must be a number - at `$.value`"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, "Expected `int` >= 0 - at `$.value`"),
        (type(sys), sys, "must be JSON: $.value is a module"),
    ],
)
def test_what_does_not_fit_the_annotation_is_refused_at_enqueue(annotation: Any, value: Any, fault: str) -> None:
    with pytest.raises(PayloadError) as caught:
        echo_of(annotation).job(value)
    assert str(caught.value).startswith("payload of 'echo' ")
    assert fault in str(caught.value)


@job(registry=HandlerRegistry())
def send_mail(to: str, subject: str = "none", *, urgent: bool = False, when: datetime | None = None) -> tuple[Any, ...]:
    return to, subject, urgent, when


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "missing a required argument: 'to'"),
        (("a",), {"to": "b"}, "multiple values for argument 'to'"),
        (("a", "b", True), {}, "too many positional arguments"),
        (("a",), {"subjct": "x"}, "got an unexpected keyword argument 'subjct'"),
    ],
)
def test_arguments_that_do_not_bind_are_refused_by_name(args: Any, kwargs: Any, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        send_mail.job(*args, **kwargs)
    assert str(caught.value) == f"payload of 'send_mail': {reason}"


def test_positional_arguments_are_stored_by_name_and_defaults_are_left_out() -> None:
    assert send_mail.job("ada", "hello", urgent=True).args == b'{"to":"ada","subject":"hello","urgent":true}'
    assert send_mail.job("ada").args == b'{"to":"ada"}'


def test_defaults_are_those_of_the_handler_that_runs() -> None:
    assert send_mail.run(b'{"to":"ada","urgent":true}') == ("ada", "none", True, None)
    assert send_mail.run(msgspec.Raw(b'{"to":"ada"}')) == ("ada", "none", False, None)


def test_an_argument_left_out_is_something_else_than_null() -> None:
    assert send_mail.run(b'{"to":"ada","when":null}')[3] is None
    with pytest.raises(PayloadError, match=r"Expected `str`, got `null` - at `\$\.subject`"):
        send_mail.run(b'{"to":"ada","subject":null}')


def test_a_handler_without_parameters_has_an_empty_payload() -> None:
    @job(registry=HandlerRegistry())
    def tick() -> int:
        return 7

    assert tick.job().args == b"{}"
    assert tick.run(b"{}") == 7


@pytest.mark.parametrize(
    "stored", [b"", b"[]", b"null", b"{", b'{"to":1}', b"{}", b'{"to":"a","unknown":1}', b'{"to":"\xff"}']
)
def test_stored_arguments_that_do_not_fit_are_a_payload_error(stored: bytes) -> None:
    with pytest.raises(PayloadError, match="payload of 'send_mail' does not fit its handler"):
        send_mail.run(stored)


def test_an_error_of_the_body_is_no_payload_error() -> None:
    @job(registry=HandlerRegistry())
    def fail(reason: str) -> None:
        raise TypeError(reason)

    with pytest.raises(TypeError, match="mine"):
        fail.run(b'{"reason":"mine"}')


def test_named_arguments_may_be_anything_with_one_written_form() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert encode_named("x", {"when": when, "id": uuid.UUID(int=1), "who": Person("Ada")}) == (
        b'{"when":"2026-01-01T00:00:00Z","id":"00000000-0000-0000-0000-000000000001",'
        b'"who":{"name":"Ada","address":null}}'
    )


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        ({"a": NAN}, "must be JSON: $.a is nan"),
        ({"when": {1}}, "must be JSON: $.when is a set"),
        ({"a": {1: 2}}, "must be JSON: $.a has the key 1, an int; keys are strings"),
        ({1: 2}, "must be JSON: $ has the key 1, an int; keys are strings"),
        ({"a": object()}, "must be JSON: $.a is an object"),
        ([1], "must be a dict of named arguments, got a list"),
        ("{}", "must be a dict of named arguments, got a str"),
    ],
)
def test_named_arguments_that_json_cannot_hold_are_refused_with_their_path(args: Any, fault: str) -> None:
    with pytest.raises(PayloadError) as caught:
        encode_named("send_mail", args)
    assert str(caught.value) == f"payload of 'send_mail' {fault}"
