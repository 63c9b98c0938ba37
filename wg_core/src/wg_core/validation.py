"""What names, ids, keys and numbers of a job may be: the same on every store, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from wg_core.errors import ConfigError
from wg_core.job import Timestamp
from wg_core.settings import Seconds, to_seconds

MAX_NAME_LENGTH = 200
MAX_QUEUE_LENGTH = 200
MAX_KEY_LENGTH = 255
MAX_ID_LENGTH = 64
MAX_HEADERS_LENGTH = 16_384
MAX_PRIORITY = 100
MAX_RETRIES = 1_000_000
MAX_DURATION_SECONDS = 100 * 366 * 86_400.0
"""A hundred years: what is longer is a mistake, and would overflow somebody's integer."""
DEFAULT_MAX_PAYLOAD_BYTES = 1_048_576

_NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,29}")
_ID = re.compile(r"[!-~]{1,64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_namespace(namespace: str) -> str:
    """Return the namespace; ConfigError when it is not `[a-z][a-z0-9_]{0,29}`."""
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(
            f"a namespace is 1 to 30 characters of a-z, 0-9 and _, beginning with a letter; got {namespace!r}"
        )
    return namespace


def check_name(name: str) -> str:
    """Return the job name; ConfigError when it is not 1 to 200 characters without control characters."""
    return _check_text("a job name", name, MAX_NAME_LENGTH)


def check_queue(queue: str) -> str:
    """Return the queue name; ConfigError when it is not 1 to 200 characters without control characters."""
    return _check_text("a queue name", queue, MAX_QUEUE_LENGTH)


def check_key(key: str) -> str:
    """Return the unique key; ConfigError when it is not 1 to 255 characters without control characters."""
    return _check_text("a key", key, MAX_KEY_LENGTH)


def check_id(job_id: str) -> str:
    """Return the job id; ConfigError when it is not 1 to 64 visible ASCII characters."""
    if not isinstance(job_id, str) or not _ID.fullmatch(job_id):
        raise ConfigError(f"a job id is 1 to {MAX_ID_LENGTH} visible ASCII characters, got {_shown(job_id)}")
    return job_id


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as a dict; ConfigError when they are not strings by strings, or too long."""
    if not isinstance(headers, Mapping):
        raise ConfigError(f"headers must be a mapping of strings to strings, got {_shown(headers)}")
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigError(f"headers must be strings, got {key!r}: {_shown(value)}")
        if _SURROGATE.search(key) or _SURROGATE.search(value):
            raise ConfigError(f"headers must not hold lone surrogates, got {key!r}: {_shown(value)}")
    size = sum(len(key) + len(value) for key, value in headers.items())
    if size > MAX_HEADERS_LENGTH:
        raise ConfigError(f"headers may have {MAX_HEADERS_LENGTH:,} characters together, got {size:,}")
    return dict(headers)


def check_whole_number(name: str, value: int, *, least: int, most: int) -> int:
    """Return the number; ConfigError when it is no int (a bool is none) or out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    return value


def check_flag(name: str, value: bool) -> bool:  # noqa: FBT001 - the flag is the thing to check
    """Return the flag; ConfigError when it is no bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {value!r}")
    return value


def check_duration(name: str, value: Seconds, *, zero_allowed: bool) -> float:
    """Return the duration in seconds; ConfigError when it is no duration, negative, or over a hundred years."""
    seconds = to_seconds(name, value)
    if seconds < 0 or (seconds == 0 and not zero_allowed):
        least = "zero or more" if zero_allowed else "more than zero"
        raise ConfigError(f"{name} must be {least} seconds, got {value!r}")
    if seconds > MAX_DURATION_SECONDS:
        raise ConfigError(f"{name} must be less than a hundred years, got {value!r}")
    return seconds


def check_moment(name: str, value: datetime) -> datetime:
    """Return the moment in UTC; ConfigError when it is no datetime, or one without a time zone."""
    if not isinstance(value, datetime):
        raise ConfigError(f"{name} must be a datetime with a time zone, got {_shown(value)}")
    if value.utcoffset() is None:
        raise ConfigError(
            f"{name} must have a time zone, got the naive {value.isoformat()!r}; write datetime.now(UTC) + …, "
            f"or value.astimezone()"
        )
    return value.astimezone(UTC)


def to_timestamp(moment: datetime) -> Timestamp:
    """Return milliseconds since the epoch, rounded up, so that a job never runs before its moment."""
    return -(-(moment - _EPOCH) // timedelta(milliseconds=1))


def _check_text(what: str, text: str, most: int) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= most:
        raise ConfigError(f"{what} must be a string of 1 to {most} characters, got {_shown(text)}")
    if _UNSTORABLE.search(text):
        raise ConfigError(f"{what} must not hold control characters or lone surrogates, got {text!r}")
    return text


def _shown(value: object) -> str:
    if isinstance(value, str) and len(value) > MAX_NAME_LENGTH:
        return f"{len(value)} characters"
    return repr(value)
