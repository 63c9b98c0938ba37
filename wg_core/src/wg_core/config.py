"""The configured store: what `send_email.enqueue(...)` uses when no client is named.

An argument wins over `configure`, which wins over the environment (`WG_URL`, `WG_NAMESPACE`). Nothing is opened
before the first job is sent, so job modules may be imported before or after `configure`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wg_core._sending import DEFAULT_ENQUEUE_TIMEOUT_SECONDS
from wg_core.backend import Backend
from wg_core.errors import ConfigError
from wg_core.registry import DEFAULT_NAMESPACE, open_backend
from wg_core.settings import Seconds
from wg_core.validation import check_duration, check_namespace

if TYPE_CHECKING:
    from wg_core.client import Client


@dataclass(frozen=True, slots=True)
class _Configured:
    url: str | None = None
    namespace: str | None = None
    enqueue_timeout: Seconds = DEFAULT_ENQUEUE_TIMEOUT_SECONDS
    backend_options: Mapping[str, Any] = field(default_factory=dict)


class _Shared:
    """What `configure` said and the client made of it; one per process, written under the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.configured = _Configured()
        self.client: Client | None = None
        self.in_use: tuple[Client, ...] = ()


_shared = _Shared()


def configure(
    *,
    url: str | None = None,
    namespace: str | None = None,
    enqueue_timeout: Seconds = DEFAULT_ENQUEUE_TIMEOUT_SECONDS,
    **backend_options: Any,
) -> None:
    """Say which store this process uses; replaces an earlier configuration whole and closes its client.

    Does no I/O. What is left out comes from the environment at first use. `enqueue_timeout` is explained at
    `Client`; further options are those of the backend, as in the URL's query. Raises ConfigError for a malformed
    namespace or timeout; the rest is looked at when the first job is sent.
    """
    check_duration("enqueue_timeout", enqueue_timeout, zero_allowed=True)
    if namespace is not None:
        check_namespace(namespace)
    if url is not None and not isinstance(url, str):
        raise ConfigError(f"url must be a string, got a {type(url).__name__}")
    with _shared.lock:
        replaced, _shared.client = _shared.client, None
        _shared.configured = _Configured(url, namespace, enqueue_timeout, backend_options)
    if replaced is not None:
        replaced.close()


def default_client() -> Client:
    """Return the client of the configured store; one per process, opened at the first call. Thread-safe.

    Raises ConfigError when no store is configured.
    """
    if _shared.in_use:
        return _shared.in_use[-1]
    return _shared.client or _open_client()


@contextmanager
def use(client: Client) -> Iterator[Client]:
    """Make `client` the default client of this process, for all threads, while the block runs. For tests and pools."""
    with _shared.lock:
        _shared.in_use = (*_shared.in_use, client)
    try:
        yield client
    finally:
        with _shared.lock:
            remaining = list(_shared.in_use)
            remaining.remove(client)
            _shared.in_use = tuple(remaining)


def resolve_url(url: str | None = None) -> str:
    """Return the argument, else what was configured, else `WG_URL`; ConfigError when there is none."""
    resolved = url or _shared.configured.url or os.environ.get("WG_URL")
    if not resolved:
        raise ConfigError("no store is configured: call wg_core.configure(url='redis://localhost:6379'), or set WG_URL")
    return resolved


def resolve_namespace(namespace: str | None = None) -> str:
    """Return the argument, else what was configured, else `WG_NAMESPACE`, else `wg`; ConfigError when malformed."""
    configured = _shared.configured.namespace or os.environ.get("WG_NAMESPACE") or DEFAULT_NAMESPACE
    return check_namespace(configured if namespace is None else namespace)


def open_configured_backend(url: str | None = None, namespace: str | None = None, **options: Any) -> Backend:
    """Return a new backend for the resolved URL and namespace; the caller closes it.

    The configured options apply only where the URL is the configured one: another store knows other options.
    """
    configured = _shared.configured
    inherited = configured.backend_options if url is None or url == configured.url else {}
    return open_backend(resolve_url(url), namespace=resolve_namespace(namespace), **{**inherited, **options})


def _open_client() -> Client:
    from wg_core.client import Client  # noqa: PLC0415 - the client knows handlers, and handlers know this module

    with _shared.lock:
        if _shared.client is None:
            _shared.client = Client(open_configured_backend(), enqueue_timeout=_shared.configured.enqueue_timeout)
        return _shared.client


def _replace_lock() -> None:
    # Another thread of the parent may have held it; the backend forgets its connections by itself.
    _shared.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)
