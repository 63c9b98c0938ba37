"""The chores of wg, each in an environment of its own: `nox --list` names them, `nox -s tests` runs one."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2026.1"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
SOURCES = ("wg_core/src", "wg_redis/src", "wg_sqlite/src", "wg_postgres/src", "wg_mysql/src")
INTERRUPTED = "*_interrupted.py"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]  # those that are not installed are left out


def install(session: nox.Session, *groups: str) -> None:
    """Install the distributions from this tree, and the named groups of tools."""
    editable = ("./wg_core[sql,rich,testing,servers]", "./wg_redis", "./wg_sqlite", "./wg_postgres", "./wg_mysql")
    arguments = [word for distribution in editable for word in ("--editable", distribution)]
    session.install(*arguments, *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Find mistakes and strange formatting."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the packages, and of the public API as a user writes it."""
    install(session, "types", "test")
    session.run("mypy", *SOURCES, "tests/typing")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests, or pytest with the arguments."""
    install(session, "test")
    if session.posargs:
        session.run("python", "-m", "pytest", "-q", *session.posargs)
        return
    pytest = ("python", "-m", "pytest", "-q")
    session.run(*pytest, "-n", "2", "--dist", "loadfile", "--ignore", "tests/integration", "--ignore-glob", INTERRUPTED)
    session.run(*pytest, *map(str, sorted(Path("tests").rglob(INTERRUPTED))))  # traces: needs a process to itself
    session.run(*pytest, "-n", "3", "--dist", "worksteal", "tests/integration")  # kills processes: beside nothing else


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, pause and cut off processes and servers for many rounds, not the few of the other tests, on every store."""
    install(session, "test")
    folders = ("tests/integration/faults", "tests/integration/supervisor")
    session.run("python", "-m", "pytest", "-q", *folders, *session.posargs, env={"WG_FAULTS": "full"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Run all tests and say which branches none of them took."""
    install(session, "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheels and try them, and a stranger's backend, in empty environments."""
    install(session, "test")
    session.run("python", "-m", "pytest", "-q", "tests/packaging", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Take out one guard at a time and see that a test notices."""
    install(session, "test")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo as a new user would."""
    session.install("./wg_core", "./wg_sqlite", "rich")
    session.run("wg", "demo", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the code in the documentation and follow its links."""
    install(session, "test")
    session.run("python", "-m", "pytest", "-q", "tests/docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure wg against the raw stores."""
    install(session)
    session.run("python", "-m", "benchmarks", *session.posargs)
