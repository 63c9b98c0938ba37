"""The code in README, quickstart and a how-to runs as it stands, block after block, in one folder and one shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, Block, blocks


def as_shell(found: Block, number: int) -> Iterator[str]:
    """Files are written, other Python blocks are run, and so are the commands of console blocks.

    `sh` blocks are not: they install things.
    """
    if found.language == "python":
        name = found.file_name or f"block_{number}.py"
        yield f"cat > {name} <<'END OF BLOCK'\n{found.text}END OF BLOCK"
        if found.file_name is None:
            yield f"python {name}"
    elif found.language == "console":
        yield from found.commands


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/how-to/enqueue-in-your-transaction.md"])
def test_every_block_of_the_page_runs(page: str, tmp_path: Path) -> None:
    script = [line for number, found in enumerate(blocks(ROOT / page)) for line in as_shell(found, number)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WG_", "PYTEST_"))}
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**clean, "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_of_the_page_is_python(page: Path) -> None:
    for found in blocks(page):
        if found.language == "python":
            compile(found.text, str(page), "exec", dont_inherit=True)
