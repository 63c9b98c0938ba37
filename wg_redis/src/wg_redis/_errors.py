"""Sorts what the driver raises into the error tree of wg.

========================================================  =================================================
what happened                                             what the caller sees
========================================================  =================================================
no connection, or the command could not be sent           BackendUnavailableError (Redis runs whole commands only)
sent, and no answer came                                  AmbiguousResultError
READONLY, LOADING, CLUSTERDOWN, MASTERDOWN, NOREPLICAS    one more try on new connections, then BackendUnavailableError
OOM, MISCONF, BUSY, too many clients                      BackendUnavailableError: refused before anything ran
WRONGTYPE, a newer layout, keys of somebody else          SchemaError
anything else, such as NOAUTH, WRONGPASS, NOPERM          BackendRejectedError
========================================================  =================================================
"""

from __future__ import annotations

from typing import Final

from redis import exceptions as driver

from wg_core.errors import (
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    LeaseLostError,
    SchemaError,
)


class SchemaMissingError(SchemaError):
    """There is no `{ns}:meta` yet: nothing was done, and it is created by the caller. Never leaves this package."""


_CODES: Final = {
    driver.ReadOnlyError: "READONLY",
    driver.BusyLoadingError: "LOADING",
    driver.MasterDownError: "MASTERDOWN",
    driver.ClusterDownError: "CLUSTERDOWN",
    driver.TryAgainError: "TRYAGAIN",
    driver.OutOfMemoryError: "OOM",
    driver.NoPermissionError: "NOPERM",
    driver.AuthenticationError: "NOAUTH",
    driver.NoScriptError: "NOSCRIPT",
    driver.MovedError: "MOVED",
}
"""What the driver took off the front of a message and made a class of."""

_FAILOVER: Final = frozenset(
    {"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED"}
)
_UNAVAILABLE: Final = _FAILOVER | {"OOM", "MISCONF", "BUSY"}
_REPLIES: Final = (
    driver.ResponseError,
    driver.BusyLoadingError,
    driver.AuthenticationError,
    driver.AuthorizationError,
)


def is_reply(error: BaseException) -> bool:
    """Whether the server itself said no (some of these the driver calls connection errors)."""
    return isinstance(error, _REPLIES)


def code_of(error: BaseException) -> str:
    """Return the code in front of an error reply, such as `READONLY`."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    return str(error).partition(" ")[0]


def is_failover(error: BaseException) -> bool:
    """Whether another connection may reach a server that can: the roles have changed, or it just started."""
    return code_of(error) in _FAILOVER


def sort_connect(error: Exception, address: str) -> BackendError:
    """Return what a failed connect or send means: nothing happened."""
    if is_reply(error):
        return sort_reply(error, address)
    return BackendUnavailableError(f"redis at {address} cannot be reached: {_text(error)}")


def sort_reply(error: Exception, address: str) -> BackendError:
    """Return what an error reply means."""
    code, _, detail = str(error).partition(" ")
    code = code_of(error)
    ours = {"WGMISSING": _missing, "WGNEWER": _newer, "WGFOREIGN": _foreign, "WGLEASE": _lease, "WGREQUEST": _request}
    if code in ours:
        return ours[code](detail)
    if code in _UNAVAILABLE:
        return BackendUnavailableError(f"redis at {address} refuses for now: {_said(error)}")
    if code == "WRONGTYPE":
        return SchemaError(
            f"a key of this namespace at {address} was not made by wg: {_text(error)}; use another namespace"
        )
    if isinstance(error, driver.AuthenticationError):
        return BackendRejectedError(f"redis at {address} refuses the login: {_text(error)}")
    return BackendRejectedError(f"redis at {address} refuses: {_said(error)}{_advice(error)}")


def _text(error: Exception) -> str:
    return str(error).rstrip(".")


def _said(error: Exception) -> str:
    text, code = _text(error).partition(" script: ")[0], code_of(error)
    return text if text.startswith(code) else f"{code} {text}"


def _advice(error: Exception) -> str:
    if "compiling script" in str(error):
        return "; wg needs Redis 7.0 or Valkey, or newer"
    if code_of(error) == "NOPERM" or "can't run this command" in str(error):
        return "; docs/stores/redis.md lists the rights that a user needs"
    if code_of(error) == "MOVED":
        return "; this is a cluster, which redis:// URLs do not serve"
    return ""


def _missing(detail: str) -> BackendError:
    return SchemaMissingError(detail)


def _newer(detail: str) -> BackendError:
    return SchemaError(f"the store's layout needs version {detail} or newer of it: upgrade wg-redis in this process")


def _foreign(detail: str) -> BackendError:
    return SchemaError(f"key {detail!r} is there but was not made by wg; use another namespace")


def _lease(_: str) -> BackendError:
    return LeaseLostError("the worker has no live lease")


def _request(detail: str) -> BackendError:
    return BackendRejectedError(f"request_no must rise: {detail} was answered already")
