"""Wheels as users get them, installed into environments outside the repository, without a package registry."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
THIRD_PARTY = ROOT / "tests/packaging/thirdparty/wg_backend_example"
DISTRIBUTIONS = ("wg_core", "wg_redis", "wg_sqlite", "wg_postgres", "wg_mysql")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that knows nothing of this repository."""

    folder: Path

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None, timeout_seconds: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in its folder unless told otherwise."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "WG_"))}
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=cwd or self.folder,
            env={**clean, "PATH": f"{self.folder / 'bin'}:{clean['PATH']}"},
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def python(self, code: str) -> str:
        """Run code and return what it printed; it must not fail."""
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout


def build(source: Path, out: Path) -> Path:
    """Build an sdist, a wheel from it, and return the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def create_environment(folder: Path, wheels: Sequence[Path], extras: Sequence[str]) -> Environment:
    """Install wheels, and copy in what they depend on, also by their `extras`."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps", *map(str, wheels)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    ours = list(importlib.metadata.distributions(path=[str(site_packages)]))
    for distribution in _dependencies(ours, extras):
        _copy(distribution, site_packages)
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, timeout=300, check=False)
    assert checked.returncode == 0, checked.stdout
    return Environment(folder)


def _dependencies(
    roots: Iterable[importlib.metadata.Distribution], extras: Sequence[str]
) -> list[importlib.metadata.Distribution]:
    """Return what the roots need, from the environment of the tests: the versions that the tests run with."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(line, tuple(extras)) for root in roots for line in root.requires or ()]
    while waiting:
        line, wanted = waiting.pop()
        requirement = Requirement(line)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
        )
        name = requirement.name.lower()
        if applies and name not in found and not name.startswith("wg-"):
            found[name] = importlib.metadata.distribution(name)
            waiting += [(line, tuple(requirement.extras)) for line in found[name].requires or ()]
    return list(found.values())


def _copy(distribution: importlib.metadata.Distribution, site_packages: Path) -> None:
    for file in distribution.files or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
            target = site_packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
