"""The pages of the stores list the options that exist, with their defaults."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest

import wg_mysql.options
import wg_postgres.options
import wg_redis._options
import wg_sqlite.options
from tests.docs.markdown import ROOT

URL_PARTS = {"tls"}
"""Options of Redis that are said by the scheme alone."""

OPTIONS: dict[str, tuple[set[str], Any]] = {
    "postgres": (set(wg_postgres.options._OWN_OPTIONS), wg_postgres.options.parse_url("postgres://db/app", {})),
    "mysql": (set(wg_mysql.options._OPTIONS), wg_mysql.options.parse_url("mysql://db/app", {})),
    "sqlite": (
        {*wg_sqlite.options._MEMORY_OPTIONS, *wg_sqlite.options._FILE_OPTIONS},
        wg_sqlite.options.parse_url("sqlite:jobs.db", {}),
    ),
    "redis": (
        {found.name for found in fields(wg_redis._options.Options)} - URL_PARTS,
        wg_redis._options.parse_options("redis://db", {}),
    ),
}


def listed(store: str) -> dict[str, str]:
    """Return the default by option, as the page has it."""
    page = (ROOT / f"docs/stores/{store}.md").read_text(encoding="utf-8")
    section = page.partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name: row[1].strip().strip("`") for row in rows for name in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize("store", OPTIONS)
def test_the_page_lists_the_options_of_the_store(store: str) -> None:
    assert set(listed(store)) == OPTIONS[store][0]


@pytest.mark.parametrize("store", OPTIONS)
def test_the_page_tells_the_defaults(store: str) -> None:
    options, checked = OPTIONS[store][1], 0
    for name, default in listed(store).items():
        owners = [owner for owner in (options, getattr(options, "pool", None)) if hasattr(owner, name)]
        if owners and re.fullmatch(r"-?[\d.]+|true|false", default):
            assert json.loads(default) == getattr(owners[0], name), name
            checked += 1
    assert checked >= 4
