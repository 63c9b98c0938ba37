"""The SQL backend that docs/write-a-backend.md shows is a backend: installed as a stranger's, it passes the suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs/write-a-backend.md"
THEMES = ("enqueue", "life", "order", "report", "request_races", "rescue", "retire")
SUITE = f"""
import pytest
from wg_core.testing.contract._fixtures import *
{chr(10).join(f"from wg_core.testing.contract.{theme} import *" for theme in THEMES)}


@pytest.fixture
def backend_url(tmp_path):
    return f"tiny:{{tmp_path / 'jobs.db'}}"
"""


def install(site: Path) -> None:
    """Write the page's module and what an installed distribution leaves beside it."""
    example = next(block for block in blocks(PAGE) if block.file_name == "tiny_sql.py")
    (site / "tiny_sql.py").write_text(example.text)
    about = site / "wg_tiny-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wg-tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[wg.backends]\ntiny = tiny_sql:TinyBackend\n")


@pytest.mark.timeout(600)
def test_the_sql_backend_of_the_page_passes_the_themes_of_the_suite(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "test_contract.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_contract.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
