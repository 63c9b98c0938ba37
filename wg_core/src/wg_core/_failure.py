"""How a failed attempt is written down: bounded, encodable, and safe from what the error itself does."""

from __future__ import annotations

import traceback
from types import TracebackType

MESSAGE_LIMIT = 2_000
"""Characters of an error's message that are kept."""

TRACEBACK_LIMIT = 8_192
"""Bytes of a traceback that are kept: its end, where the error is."""

_OWN_FRAMES = ("wg_core/_slot.py", "wg_core/_executor.py", "wg_core/handlers.py")


def error_name(error: BaseException) -> str:
    """Return the class of an error as people write it: `ValueError`, `JobTimeout`, `shop.errors.OutOfStock`."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__") or kind.__module__.startswith("wg_core."):
        return _encodable(kind.__qualname__)
    return _encodable(f"{kind.__module__}.{kind.__qualname__}")


def error_message(error: BaseException) -> str:
    """Return the message of an error, bounded; an error that cannot be printed does not hide the failure."""
    try:
        message = str(error)
    except Exception as unprintable:  # noqa: BLE001 - a handler's own __str__ may raise anything
        message = f"<the message could not be read: {type(unprintable).__name__}>"
    message = _encodable(message)
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


def error_traceback(error: BaseException) -> str:
    """Return the end of the error's traceback, without the frames of the worker itself."""
    try:
        lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    except Exception as unprintable:  # noqa: BLE001 - formatting calls __str__ and __repr__ of user classes
        return f"<the traceback could not be read: {type(unprintable).__name__}>"
    text = _encodable("".join(lines)).encode()
    if len(text) <= TRACEBACK_LIMIT:
        return text.decode()
    kept = text[-(TRACEBACK_LIMIT - len("…\n".encode())) :]
    return "…\n" + kept.decode(errors="ignore")


def _from_handler(frames: TracebackType | None) -> TracebackType | None:
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.replace("\\", "/").endswith(_OWN_FRAMES):
        first = first.tb_next
    return first


def _encodable(text: str) -> str:
    """Lone surrogates have no UTF-8, and a record that cannot be encoded could not be reported."""
    return text.encode("utf-8", "backslashreplace").decode()
