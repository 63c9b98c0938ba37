"""The examples run, in processes of their own and against a real store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT

POSTED_BY = {
    "flask": """
from flask_app import app
answer = app.test_client().post("/subscribers", data={"email": "ada@example.com"})
assert answer.status_code == 202, answer.text
""",
    "django": """
from django_app import application
from django.test import Client
answer = Client().post("/subscribers", {"email": "ada@example.com"})
assert answer.status_code == 202, answer.content
""",
}


pytestmark = pytest.mark.timeout(600)  # an example is several programs, one after the other


def run(folder: Path, *command: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WG_", "PYTEST_"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **clean,
            "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
            "PYTHONPATH": str(ROOT / "examples"),
            "WG_URL": "sqlite:jobs.db",
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plain_example_sends_and_works(tmp_path: Path) -> None:
    output = run(tmp_path, "python", str(ROOT / "examples/plain_app.py"), "ada@example.com", "nobody")
    assert output.count("enqueued") == 2
    assert (tmp_path / "outbox.txt").read_text().count("welcome ada@example.com") == 1
    assert "is no address" in run(tmp_path, "wg", "dead", "list")


@pytest.mark.parametrize("framework", sorted(POSTED_BY))
def test_what_a_view_enqueues_is_run_by_a_worker(framework: str, tmp_path: Path) -> None:
    run(tmp_path, "python", "-c", POSTED_BY[framework])
    assert not (tmp_path / "outbox.txt").exists()
    run(tmp_path, "wg", "worker", "newsletter", "--burst")
    assert (tmp_path / "outbox.txt").read_text().startswith("welcome ada@example.com")
