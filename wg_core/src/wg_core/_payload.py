"""From the arguments of a call to the JSON object that is stored, and back by the handler's annotations.

The rule is one sentence: what the handler receives equals what was given. At enqueue the arguments are bound to
names, encoded, decoded again by the handler's types and compared, which costs about a microsecond; so a wrong
argument is an error at enqueue and not a dead job an hour later.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from wg_core._json_faults import Fault, are_equal, faults, first_difference, with_article
from wg_core.errors import ConfigError, PayloadError

_PATH_OF_ERROR = re.compile(r"at `(\$\.(\w+)[^`]*)`$")
_ENCODING_ERRORS = (TypeError, ValueError, OverflowError, NotImplementedError)
_INSTEAD_OF: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "take a list instead",
    inspect.Parameter.VAR_KEYWORD: "take a dict instead",
    inspect.Parameter.POSITIONAL_ONLY: "remove the '/'",
}
_CLASS_MARKS = ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__", "model_validate")


def _encode_model(value: Any) -> Any:
    """Encode pydantic models (and what speaks their protocol), which this package need not import for that."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    raise NotImplementedError(f"{with_article(value)} cannot be written as JSON")


def _decode_model(annotation: Any, value: Any) -> Any:
    if hasattr(annotation, "model_validate"):
        return annotation.model_validate(value)
    if isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise TypeError(f"Expected `{getattr(annotation, '__name__', annotation)}`, which cannot be read from JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_model)


def encode_named(name: str, args: dict[str, Any]) -> bytes:
    """Return the JSON of arguments for a handler whose code is not here, so that nothing knows their types.

    Values with one written form (datetime, UUID, Decimal, bytes as base64, dataclasses …) are written as the
    handler's types read them. Raises PayloadError with the path of what has no such form.
    """
    if not isinstance(args, dict):
        raise PayloadError(
            f"payload of {name!r} must be a dict of named arguments, got {with_article(args)}", job_name=name
        )
    encoded = _encode(name, args)
    if not are_equal(args, msgspec.json.decode(encoded)):
        fault = next(faults(args, "$", _encoder), None)
        if fault is not None:
            raise _not_json(name, fault)
    return encoded


def largest_part(encoded: bytes) -> str:
    """Return ` ($.body has 1,200,000)`: the largest of the arguments, for a payload that is too large."""
    sizes = {
        key: len(memoryview(raw)) for key, raw in msgspec.json.decode(encoded, type=dict[str, msgspec.Raw]).items()
    }
    if not sizes:
        return ""
    largest = max(sizes, key=sizes.__getitem__)
    return f" ($.{largest} has {sizes[largest]:,})"


class _Codec(NamedTuple):
    struct: Callable[..., Any]
    decoder: msgspec.json.Decoder[Any]


class Parameters:
    """The parameters of one handler: binds, encodes and decodes its arguments. Thread-safe.

    Raises ConfigError at construction when the signature cannot be filled by names.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function
        self._signature = inspect.signature(function)
        self._parameters = list(self._signature.parameters.values())
        for parameter in self._parameters:
            self._refuse_unnamed(parameter)
        self._all_positional = all(
            parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
            for parameter in self._parameters
        )

    def claimed_class(self) -> type | None:
        """Return the class of the only parameter when it is a dataclass, Struct, attrs class or pydantic model.

        Raises NameError when the annotation names what is not defined yet.
        """
        if len(self._parameters) != 1:
            return None
        annotation = self._annotations()[self._parameters[0].name]
        is_model = isinstance(annotation, type) and any(hasattr(annotation, mark) for mark in _CLASS_MARKS)
        return annotation if is_model else None

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the JSON object of the arguments; those left to the handler's defaults are left out.

        Raises PayloadError naming the parameter or the path of the value at fault.
        """
        codec = self._codec
        try:
            given = codec.struct(*args, **kwargs)
        except TypeError:
            raise self._unbound(args, kwargs) from None
        encoded = _encode(self._name, given)
        try:
            returned = codec.decoder.decode(encoded)
        except msgspec.DecodeError as error:
            raise self._misfit(given, error) from error
        if not are_equal(given, returned):
            difference = first_difference(given, returned, "$")
            if difference is not None:
                raise _not_json(self._name, difference)
        return encoded

    def call(self, function: Callable[..., Any], args: msgspec.Raw | bytes) -> Any:
        """Call the function with the stored arguments; PayloadError when they do not fit its annotations."""
        try:
            decoded = self._codec.decoder.decode(args)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PayloadError(
                f"payload of {self._name!r} does not fit its handler: {error}", job_name=self._name
            ) from error
        values = msgspec.structs.astuple(decoded)
        if self._all_positional:
            return function(*values)
        named = zip(decoded.__struct_fields__, values, strict=True)
        return function(**{name: value for name, value in named if value is not UNSET})

    @cached_property
    def _codec(self) -> _Codec:
        """Built at first use, so that handlers may name classes that are defined below them."""
        try:
            annotations = self._annotations()
            struct = self._build_struct(annotations)
            return _Codec(struct, msgspec.json.Decoder(struct, dec_hook=_decode_model))
        except NameError as error:
            raise ConfigError(
                f"an annotation of job {self._name!r} cannot be resolved: {error}; it must be importable at run time"
            ) from error
        except TypeError as error:
            raise ConfigError(f"the annotations of job {self._name!r} cannot be read from JSON: {error}") from error

    def _annotations(self) -> dict[str, Any]:
        hints = typing.get_type_hints(self._function, include_extras=True)
        return {parameter.name: hints.get(parameter.name, Any) for parameter in self._parameters}

    def _build_struct(self, annotations: dict[str, Any]) -> type[msgspec.Struct]:
        positional: list[Any] = []
        keyword_only: list[Any] = []
        for parameter in self._parameters:
            field = (parameter.name, annotations[parameter.name])
            target = keyword_only if parameter.kind is parameter.KEYWORD_ONLY else positional
            target.append(field if parameter.default is parameter.empty else (*field, UNSET))
        base = msgspec.defstruct("_KeywordOnly", keyword_only, kw_only=True)
        return msgspec.defstruct(self._name, positional, bases=(base,), forbid_unknown_fields=True)

    def _refuse_unnamed(self, parameter: inspect.Parameter) -> None:
        advice = _INSTEAD_OF.get(parameter.kind)
        if advice is not None:
            shown = parameter.replace(annotation=parameter.empty, default=parameter.empty)
            raise ConfigError(f"job {self._name!r} cannot take {shown}: a payload holds named parameters; {advice}")

    def _unbound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PayloadError:
        try:
            self._signature.bind(*args, **kwargs)
            reason = "the arguments do not fit"
        except TypeError as error:
            reason = str(error)
        return PayloadError(f"payload of {self._name!r}: {reason}", job_name=self._name)

    def _misfit(self, given: Any, error: msgspec.DecodeError) -> PayloadError:
        """Name NaN, sets and the like for what they are: the decoder saw only the null or array they became."""
        where = _PATH_OF_ERROR.search(str(error))
        if where is not None:
            path, field = where.groups()
            for fault in faults(getattr(given, field), f"$.{field}", _encoder):
                if fault.is_certain or fault.path == path:
                    return _not_json(self._name, fault)
        return PayloadError(f"payload of {self._name!r} does not fit its handler: {error}", job_name=self._name)


def _encode(name: str, arguments: Any) -> bytes:
    try:
        return _encoder.encode(arguments)
    except RecursionError as error:
        raise _not_json(name, "$ is nested too deeply, or holds itself") from error
    except _ENCODING_ERRORS as error:
        raise _not_json(name, _cause(arguments, error)) from error


def _cause(arguments: Any, error: Exception) -> Fault | str:
    """Return what stopped the encoder: a certain fault if there is one, for sets and the like are written somehow."""
    found = sorted(faults(arguments, "$", _encoder), key=lambda fault: not fault.is_certain)
    return found[0] if found else str(error)


def _not_json(name: str, reason: Fault | str) -> PayloadError:
    return PayloadError(f"payload of {name!r} must be JSON: {reason}", job_name=name)
