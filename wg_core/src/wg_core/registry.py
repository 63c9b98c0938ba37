"""From a URL to a backend: one entry point of `wg.backends` per URL scheme, and only the named one is loaded."""

from __future__ import annotations

import functools
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from wg_core._suggest import did_you_mean
from wg_core.backend import API_VERSION, Backend
from wg_core.errors import ConfigError, UnknownBackendError
from wg_core.validation import check_namespace

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "wg.backends"
DEFAULT_NAMESPACE = "wg"

EXTRA_BY_SCHEME = {
    "redis": "redis",
    "rediss": "redis",
    "redis+unix": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "postgres": "postgres",
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
"""Schemes that we publish ourselves, and the extra of wg-core that brings them."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_USERINFO_PASSWORD = re.compile(r"((?::|^)//[^:@/?#]*|^[A-Za-z][A-Za-z0-9+.\-]*:/?[^:@/?#]*):.*@", re.DOTALL)
"""The second form is a URL whose slashes were forgotten."""
_QUERY_PAIR = re.compile(r"([?&])([^=&]*)=([^&]*)")
_SECRET_WORDS = ("pass", "pwd", "secret", "token", "credential", "api_key", "apikey", "url")
"""A URL within a URL, such as `listen_url`, may hold a password in percent-encoded form."""


class InstalledBackend(NamedTuple):
    """One scheme and the distribution that serves it."""

    scheme: str
    distribution: str
    version: str


def open_backend(url: str, *, namespace: str = DEFAULT_NAMESPACE, **options: Any) -> Backend:
    """Return the backend that serves the URL's scheme, without any I/O and without loading another one.

    The scheme is what stands before the first colon; `postgresql+psycopg:` is looked up whole, then as
    `postgresql`. Options go to the backend and win over the URL's query.

    Raises UnknownBackendError when no installed distribution serves the scheme, ConfigError when the URL, the
    namespace or an option is wrong, when two distributions claim the scheme, or when its plug-in is broken.
    """
    check_namespace(namespace)
    entry_point = _find_entry_point(_scheme_of(url), tuple(map(str, sys.path)))
    return _load(entry_point).open(url, namespace, **options)


def installed_backends() -> list[InstalledBackend]:
    """Return what is installed, by scheme, without importing any of it; a disputed scheme is listed for each."""
    found = [
        InstalledBackend(scheme, *_distribution_of(entry_point))
        for scheme, entry_points in _entry_points().items()
        for entry_point in entry_points
    ]
    return sorted(found)


def redact(url: str) -> str:
    """Return the URL fit for logs and errors: passwords are hidden, also those in the query.

    A password that holds `@`, `/` or `?` unencoded hides what stands beside it too: rather too much than a part.
    """
    return _QUERY_PAIR.sub(_hide_secret, _USERINFO_PASSWORD.sub(r"\1:***@", url))


def _hide_secret(pair: re.Match[str]) -> str:
    separator, key, value = pair.groups()
    is_secret = any(word in key.lower() for word in _SECRET_WORDS)
    return f"{separator}{key}={'***' if is_secret else value}"


def _scheme_of(url: str) -> str:
    match = _SCHEME.match(url) if isinstance(url, str) else None
    if match is None:
        shown = redact(url) if isinstance(url, str) else f"a {type(url).__name__}"
        raise ConfigError(
            f"a store is named by a URL such as 'redis://localhost:6379' or 'sqlite:jobs.db', got {shown!r}"
        )
    return match[1].lower()


def _entry_points() -> dict[str, list[EntryPoint]]:
    """Return the entry points by scheme, one for each distribution that claims it."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that a process without a URL does not need

    claims: defaultdict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        # An editable install beside a wheel's metadata lists one distribution twice: the first on the path counts.
        claims[entry_point.name].setdefault(_normalised(_distribution_of(entry_point)[0]), entry_point)
    return {scheme: list(by_distribution.values()) for scheme, by_distribution in claims.items()}


@functools.lru_cache(maxsize=8)
def _find_entry_point(scheme: str, path: tuple[str, ...]) -> EntryPoint:  # noqa: ARG001 - what the answer holds for
    """Return what serves the scheme; kept, because reading what is installed on the path takes many milliseconds."""
    installed = _entry_points()
    for candidate in (scheme, scheme.partition("+")[0]):
        if candidate in installed:
            return _only_claimant(candidate, installed[candidate])
    raise _unknown(scheme, sorted(installed))


def _only_claimant(scheme: str, claimants: list[EntryPoint]) -> EntryPoint:
    if len(claimants) > 1:
        names = " and ".join(sorted(" ".join(_distribution_of(claimant)) for claimant in claimants))
        raise ConfigError(f"backend {scheme!r} is claimed by {names}: uninstall all but one")
    return claimants[0]


def _unknown(scheme: str, installed: list[str]) -> UnknownBackendError:
    extra = EXTRA_BY_SCHEME.get(scheme) or EXTRA_BY_SCHEME.get(scheme.partition("+")[0])
    if extra is not None:
        return UnknownBackendError(f"no backend for '{scheme}://': {_pip_line(extra)}", scheme=scheme)
    suggestion = did_you_mean(scheme, {*installed, *EXTRA_BY_SCHEME})
    return UnknownBackendError(
        f"unknown backend {scheme!r}{suggestion or ';'} installed: {', '.join(installed) or 'none'}", scheme=scheme
    )


def _pip_line(extra: str) -> str:
    return f'pip install "wg-core[{extra}]"'


def _load(entry_point: EntryPoint) -> type[Backend]:
    owner = " ".join(_distribution_of(entry_point))
    try:
        loaded = entry_point.load()
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise ConfigError(
            f"backend {entry_point.name!r} of {owner} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise ConfigError(
            f"backend {entry_point.name!r} of {owner} must be a subclass of wg_core.backend.Backend, got {loaded!r}"
        )
    if loaded.api_version != API_VERSION:
        raise ConfigError(
            f"backend {entry_point.name!r} of {owner} is written for version {loaded.api_version} of the contract, "
            f"this wg-core has version {API_VERSION}: install releases that belong together"
        )
    return loaded


def _distribution_of(entry_point: EntryPoint) -> tuple[str, str]:
    if entry_point.dist is None:
        return "an unnamed distribution", ""
    metadata = entry_point.dist.metadata  # broken installations lack a name or a version
    names = metadata.get_all("Name") or ["an unnamed distribution"]
    versions = metadata.get_all("Version") or [""]
    return names[0], versions[0]


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
