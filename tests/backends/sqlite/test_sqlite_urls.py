"""URL forms and options, and what is said about wrong ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from wg_core.errors import ConfigError
from wg_core.registry import open_backend
from wg_core.sql import PoolOptions
from wg_sqlite.options import MEMORY, SQLiteOptions, parse_url


def parsed(url: str, **keywords: object) -> SQLiteOptions:
    return parse_url(url, keywords)


def test_a_bare_path_is_relative_to_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parsed("sqlite:data/jobs.db").path == str(tmp_path / "data/jobs.db")


def test_a_backend_stays_with_its_file_when_the_process_changes_its_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_backend("sqlite:jobs.db") as backend:
        monkeypatch.chdir("/")
        backend.migrate()
    assert (tmp_path / "jobs.db").exists()


@pytest.mark.parametrize(
    "url",
    ["sqlite:/var/lib/jobs.db", "sqlite:///var/lib/jobs.db", "sqlite:////var/lib/jobs.db", "SQLite:/var/lib/jobs.db"],
)
def test_absolute_paths_have_one_slash_or_three_or_four(url: str) -> None:
    assert parsed(url).path == "/var/lib/jobs.db"


def test_a_path_may_hold_any_character_when_it_is_encoded() -> None:
    assert parsed("sqlite:///a%20b/what%3F%23%25.db").path == "/a b/what?#%.db"


def test_a_file_with_an_odd_name_is_really_used(tmp_path: Path) -> None:
    with open_backend(f"sqlite:{tmp_path}/what%3F%23%25 ñ.db") as backend:
        backend.migrate()
    assert (tmp_path / "what?#% ñ.db").exists()


def test_memory_has_a_url_of_its_own() -> None:
    assert parsed("sqlite::memory:").path == MEMORY
    assert parsed("sqlite::memory:").in_memory


@pytest.mark.parametrize("url", ["sqlite://:memory:", "sqlite:///:memory:"])
def test_other_ways_to_write_memory_are_corrected(url: str) -> None:
    with pytest.raises(ConfigError, match="a store in memory is 'sqlite::memory:'"):
        parsed(url)


def test_a_relative_path_after_two_slashes_is_corrected() -> None:
    with pytest.raises(ConfigError, match=r"write 'sqlite:jobs.db'"):
        parsed("sqlite://jobs.db")


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:///", "sqlite:data/", "sqlite:a%00b"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"names a file, as in 'sqlite:jobs.db'"):
        parsed(url)


def test_options_come_from_the_query() -> None:
    options = parsed(
        "sqlite:jobs.db?journal_mode=delete&synchronous=full&cache_size=-8000&temp_store=memory&busy_timeout=2.5"
        "&wal_autocheckpoint=200&read_only=yes&pool_size=2&max_overflow=3&pool_timeout=4&pool_recycle=60"
    )
    assert options == SQLiteOptions(
        path=options.path,
        journal_mode="DELETE",
        synchronous="FULL",
        cache_size=-8000,
        temp_store="MEMORY",
        busy_timeout=2.5,
        wal_autocheckpoint=200,
        read_only=True,
        pool=PoolOptions(pool_size=2, max_overflow=3, pool_timeout=4.0, pool_recycle=60.0),
    )


def test_keywords_win_over_the_query_and_take_durations() -> None:
    options = parsed("sqlite:jobs.db?busy_timeout=1&pool_size=7", busy_timeout=timedelta(seconds=9), read_only=True)
    assert (options.busy_timeout, options.read_only, options.pool.pool_size) == (9.0, True, 7)


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'journalmode' of sqlite:, did you mean 'journal_mode'\?"):
        parsed("sqlite:jobs.db?journalmode=WAL")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("journal_mode", "MEMORY", "one of WAL, DELETE, TRUNCATE, PERSIST"),
        ("synchronous", "maybe", "one of OFF, NORMAL, FULL, EXTRA"),
        ("temp_store", "RAM", "one of DEFAULT, FILE, MEMORY"),
        ("cache_size", "lots", "a whole number"),
        ("wal_autocheckpoint", "-1", "a whole number of at least 0"),
        ("busy_timeout", "-1", "a number of seconds of at least 0 and at most 600"),
        ("busy_timeout", "5000", "a number of seconds of at least 0 and at most 600"),
        ("busy_timeout", "nan", "a number of seconds of at least 0 and at most 600"),
        ("read_only", "perhaps", "true or false"),
        ("pool_size", "-1", "a whole number of at least 0"),
        ("max_overflow", "-2", "a whole number of at least -1"),
        ("pool_timeout", "soon", "a number of seconds of at least 0"),
        ("pool_recycle", "-5", "a number of seconds of at least -1"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(option: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^option {option} of sqlite: must be {expected}, got '{value}'$"):
        parsed(f"sqlite:jobs.db?{option}={value}")


def test_a_keyword_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="option pool_size of sqlite: must be a whole number of at least 0, got True"):
        parsed("sqlite:jobs.db", pool_size=True)


def test_a_query_that_is_no_list_of_pairs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be name=value pairs joined by &, got 'read_only'"):
        parsed("sqlite:jobs.db?read_only")


def test_options_for_files_mean_nothing_in_memory() -> None:
    with pytest.raises(ConfigError, match="unknown option 'journal_mode' of sqlite::memory:"):
        parsed("sqlite::memory:?journal_mode=WAL")
