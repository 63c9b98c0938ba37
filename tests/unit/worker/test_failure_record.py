"""What is kept of an error: bounded, encodable, and unharmed by what the error itself does."""

from __future__ import annotations

import msgspec
import pytest

from wg_core._failure import MESSAGE_LIMIT, TRACEBACK_LIMIT, error_message, error_name, error_traceback
from wg_core.errors import JobTimeout


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def fail(error: BaseException) -> None:
    raise error


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        fail(error)
    return caught.value


def test_errors_are_named_as_people_write_them() -> None:
    assert error_name(ValueError()) == "ValueError"
    assert error_name(JobTimeout()) == "JobTimeout"
    assert error_name(msgspec.ValidationError()) == "msgspec.ValidationError"


def test_a_long_message_is_cut() -> None:
    message = error_message(ValueError("x" * 10_000))
    assert len(message) == MESSAGE_LIMIT
    assert message.endswith("…")


def test_an_error_that_cannot_be_printed_is_still_recorded() -> None:
    assert error_message(UnprintableError()) == "<the message could not be read: RuntimeError>"
    assert "UnprintableError" in error_traceback(raised(UnprintableError()))


def test_a_message_that_is_no_utf8_is_escaped() -> None:
    message = error_message(ValueError("file \udcff.txt"))
    assert msgspec.json.decode(msgspec.json.encode(message)) == "file \\udcff.txt"
    assert msgspec.json.encode(error_traceback(raised(ValueError("\udcff"))))


def test_a_long_traceback_keeps_its_end() -> None:
    error = ValueError("at the bottom")
    for level in range(200):
        wider = ValueError(f"ünd wide {level}")
        wider.__cause__ = error
        error = wider
    text = error_traceback(error)
    assert len(text.encode()) <= TRACEBACK_LIMIT
    assert text.startswith("…\n")
    assert text.endswith("ValueError: ünd wide 199\n")


def test_an_error_that_was_never_raised_has_one_line() -> None:
    assert error_traceback(ValueError("no")) == "ValueError: no\n"
