"""Why a payload cannot be stored as JSON: finds the value at fault and its path. Runs only when something is wrong.

Paths are written `$.user.tags[0]`, from the object of named arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTAINERS = (list, tuple, set, frozenset)


class Fault(NamedTuple):
    """What makes one value unfit for JSON."""

    path: str
    reason: str
    is_certain: bool = True
    """False: the types of a handler may make it fit (an annotated set, keys that are annotated as int)."""

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def faults(value: Any, path: str, encoder: msgspec.json.Encoder) -> Iterator[Fault]:
    """Return what makes `value` unfit for JSON, depth first: NaN, sets, keys that are no strings, unknown types.

    Values that have one written form (datetime, UUID, Decimal, bytes, dataclasses …) are fit: the types of the
    handler read them back.
    """
    fault = _own_fault(value, path)
    if fault is not None:
        yield fault
    parts = list(children(value, path))
    for child_path, child in parts:
        yield from faults(child, child_path, encoder)
    if fault is None and not parts and not _encodes(value, encoder):
        yield Fault(path, f"is {with_article(value)}")


def first_difference(given: Any, returned: Any, path: str) -> Fault | None:
    """Return the first value that would not arrive as it was given, or None.

    A tuple that arrives as a list is no difference where the handler does not say tuple: JSON has one kind of array.
    Values of equal type whose parts show no difference count as equal, whatever their `__eq__` says.
    """
    if are_equal(given, returned):
        return None
    if isinstance(given, float) and not math.isfinite(given):
        return Fault(path, f"is {given!r}")
    if isinstance(given, dict) and isinstance(returned, dict):
        changed_keys = {key: None for key in given if key not in returned}
        return _fault_of_keys(changed_keys, path) or _difference_of_parts(given, returned, path)
    if isinstance(given, set | frozenset) and type(given) is type(returned):
        return None  # it arrives as a set, and its parts have no order to compare by
    if type(given) is type(returned) or (type(given) is tuple and isinstance(returned, list)):
        return _difference_of_parts(given, returned, path)
    return Fault(path, f"is {with_article(given)}, and would arrive as {with_article(returned)}")


def children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Return path and value of the parts of a container or an object with declared fields."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield path + (f".{key}" if _PLAIN_NAME.fullmatch(str(key)) else f"[{key!r}]"), child
    elif isinstance(value, _CONTAINERS):
        for index, child in enumerate(value):
            yield f"{path}[{index}]", child
    else:
        for name in _field_names(type(value)):
            yield f"{path}.{name}", getattr(value, name, msgspec.UNSET)


def with_article(value: Any) -> str:
    """Return `a set`, `an int`, `null`: how messages speak of a value."""
    if value is None:
        return "null"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _own_fault(value: Any, path: str) -> Fault | None:
    """Return what is wrong with the value itself, its parts left aside."""
    if isinstance(value, float) and not math.isfinite(value):
        return Fault(path, f"is {value!r}")
    if isinstance(value, str) and _SURROGATE.search(value):
        return Fault(path, "is a str with lone surrogates")
    if isinstance(value, set | frozenset):
        return Fault(path, f"is {with_article(value)}", is_certain=False)
    if isinstance(value, Mapping):
        return _fault_of_keys(value, path)
    return None


def _fault_of_keys(mapping: Mapping[Any, Any], path: str) -> Fault | None:
    for key in mapping:
        if not isinstance(key, str):
            return Fault(path, f"has the key {key!r}, {with_article(key)}; keys are strings", is_certain=False)
        if _SURROGATE.search(key):
            return Fault(path, "has a key with lone surrogates")
    return None


def _difference_of_parts(given: Any, returned: Any, path: str) -> Fault | None:
    pairs = zip(children(given, path), children(returned, path), strict=False)
    for (child_path, child), (_, returned_child) in pairs:
        difference = first_difference(child, returned_child, child_path)
        if difference is not None:
            return difference
    return None


def are_equal(given: Any, returned: Any) -> bool:
    """Return whether the values compare equal; values that cannot be compared do not."""
    try:
        return bool(given == returned)
    except Exception:  # noqa: BLE001 - a stranger's __eq__ may raise anything
        return False


def _encodes(value: Any, encoder: msgspec.json.Encoder) -> bool:
    try:
        encoder.encode(value)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        return False
    return True


def _field_names(cls: type) -> tuple[str, ...]:
    """Return the field names of a Struct, dataclass, attrs class or pydantic model; of anything else none."""
    for attribute in ("__struct_fields__", "__dataclass_fields__", "model_fields"):
        fields = getattr(cls, attribute, None)
        if isinstance(fields, tuple | dict):
            return tuple(fields)
    return tuple(attribute.name for attribute in getattr(cls, "__attrs_attrs__", ()))
