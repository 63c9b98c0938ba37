"""The page that says which test guards against which failure names tests that exist."""

from __future__ import annotations

import re

from tests.docs.markdown import ROOT

PLACES = {"contract": "wg_core/src/wg_core/testing/contract", "backends": "tests/backends"}


def test_every_test_that_the_page_names_is_where_it_says() -> None:
    text = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)` \((\w+)/(\w+)\)", text)
    assert len(named) > 60
    assert len(named) == text.count("`test_")
    for name, folder, module in named:
        files = list((ROOT / PLACES.get(folder, "tests")).rglob(f"{module}.py"))
        assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files), f"{folder}/{module}: {name}"
