"""Take out one guard at a time and see that the suite notices: `python -m tests.mutants [NAME …]`.

mutants.toml lists for each: the file, the text of the guard, what replaces it, and the test that must go red. Every
mutant works on a copy of the tree, so two can run at once and nothing is left behind. First the tests of the list must
pass on an untouched copy: a test that fails anyway proves nothing.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("wg_core", "wg_mysql", "wg_postgres", "wg_redis", "wg_sqlite", "tests", "pyproject.toml")
SECONDS_EACH = 180
MUTANTS_AT_ONCE = 2 * (os.cpu_count() or 1)  # some of the tests only wait, for what the mutant keeps from coming
TESTS_FAILED = 1  # pytest's exit code for "ran, and some failed"; anything else is not a test that noticed


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard taken out."""

    name: str
    file: str
    text: str
    replacement: str
    test: str

    def problem(self) -> str | None:
        """Say why the guard cannot be taken out of this tree, None when it can."""
        for path in (self.file, self.test.partition("::")[0]):
            if not (ROOT / path).is_file():
                return f"{self.name}: there is no {path}"
        found = (ROOT / self.file).read_text(encoding="utf-8").count(self.text)
        return None if found == 1 else f"{self.name}: the text stands {found} times in {self.file}, not once"

    def apply(self, tree: Path) -> None:
        """Take the guard out of a copy of the tree."""
        path = tree / self.file
        path.write_text(path.read_text(encoding="utf-8").replace(self.text, self.replacement), encoding="utf-8")


def main() -> int:
    """Run all mutants, or those named; return 1 if one was not noticed."""
    began = time.monotonic()
    chosen = _chosen(set(sys.argv[1:]))
    if problems := [problem for mutant in chosen if (problem := mutant.problem())]:
        raise SystemExit("\n".join(problems))
    if not _passes_untouched(sorted({mutant.test for mutant in chosen})):
        return 1
    with concurrent.futures.ThreadPoolExecutor(max_workers=MUTANTS_AT_ONCE) as pool:
        noticed = list(pool.map(_is_noticed, chosen))
    failed = noticed.count(False)
    print(f"{len(chosen) - failed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def list_of_mutants() -> list[Mutant]:
    """Return the mutants of mutants.toml, in their order."""
    text = (Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8")
    return [Mutant(**entry) for entry in tomllib.loads(text)["mutant"]]


def _chosen(wanted: set[str]) -> list[Mutant]:
    mutants = list_of_mutants()
    if unknown := wanted - {mutant.name for mutant in mutants}:
        raise SystemExit(f"unknown mutants: {', '.join(sorted(unknown))}")
    return [mutant for mutant in mutants if not wanted or mutant.name in wanted]


def _passes_untouched(tests: list[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="wg-mutants-") as folder:
        code, output = _run_tests(_copy_tree(Path(folder)), tests, SECONDS_EACH * 3)
    if code:
        print(f"{output}\nthe tests of the list fail without any mutant (pytest exit code {code})")
    return code == 0


def _is_noticed(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory(prefix="wg-mutant-") as folder:
        tree = _copy_tree(Path(folder))
        mutant.apply(tree)
        code, output = _run_tests(tree, [mutant.test], SECONDS_EACH)
    if code == TESTS_FAILED:
        print(f"noticed      {mutant.name}", flush=True)
        return True
    print(f"NOT NOTICED  {mutant.name} (pytest exit code {code})\n{output[-3000:]}", flush=True)
    return False


def _copy_tree(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".mypy_cache", "dist")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def _run_tests(tree: Path, tests: list[str], seconds: float) -> tuple[int, str]:
    """Run pytest on the copy: its sources come before the installed ones on the path."""
    sources = os.pathsep.join(str(path) for path in sorted(tree.glob("wg_*/src")))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=60", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as hung:
        return -1, f"still running after {seconds} s\n{hung.stdout!r}"
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
