"""`wg migrate` on every store that has a schema: looks, prints what the store's own program runs, and changes."""

from __future__ import annotations

import json
import subprocess

import pytest
from click.testing import CliRunner, Result

from tests.backends.sql.stores import LATEST, Store, Upgrade, run_one
from wg_core.cli import cli
from wg_core.registry import open_backend


def wg(url: str, *arguments: str, namespace: str = "wg") -> Result:
    environment = {"WG_URL": url, "WG_NAMESPACE": namespace}
    return CliRunner().invoke(cli, list(arguments), env=environment, prog_name="wg")


def test_what_sql_prints_is_all_that_the_stores_own_program_needs(store: Store) -> None:
    printed = wg(store.url, "migrate", "--sql")
    assert (printed.exit_code, printed.stderr, store.structure()) == (0, "", [])
    store.run_script(printed.stdout)
    again = wg(store.url, "migrate", "--sql")
    nothing = f"schema version {LATEST}: nothing to do\n"
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", nothing)
    run_one(store.open(auto_migrate=False))


def test_check_tells_by_its_exit_code_and_changes_nothing(store: Store, upgrade: Upgrade) -> None:
    due = wg(store.url, "migrate", "--check")
    assert (due.exit_code, due.stdout) == (4, f"would go from no schema to version {LATEST}\n")
    assert store.structure() == []
    done = wg(store.url, "migrate")
    assert (done.exit_code, done.stdout) == (0, f"went from no schema to version {LATEST}\n")
    assert wg(store.url, "migrate", "--check").exit_code == 0
    before = store.structure()
    upgrade()
    due = wg(store.url, "migrate", "--check")
    assert (due.exit_code, due.stdout) == (4, f"would go from version {LATEST} to version {LATEST + 2}\n")
    assert store.structure() == before
    printed = wg(store.url, "migrate", "--sql", "--check")
    assert printed.exit_code == 4
    store.run_script(printed.stdout)
    assert wg(store.url, "migrate", "--check").exit_code == 0


def test_json_holds_versions_and_statements(store: Store) -> None:
    due = wg(store.url, "migrate", "--check", "--json")
    assert due.exit_code == 4
    told = json.loads(due.stdout)
    expected = store.open().migrate(dry_run=True)
    assert (told["from_version"], told["to_version"]) == (None, LATEST)
    assert told["statements"] == list(expected.statements)
    assert json.loads(wg(store.url, "migrate", "--json").stdout) == told
    done = json.loads(wg(store.url, "migrate", "--check", "--json").stdout)
    assert done == {"from_version": LATEST, "to_version": LATEST, "statements": []}


def test_a_command_that_may_not_migrate_shows_the_statements_line_by_line(store: Store) -> None:
    mark = "&" if "?" in store.url else "?"
    refused = wg(f"{store.url}{mark}auto_migrate=false", "status")
    assert refused.exit_code == 4
    first, _, script = refused.stderr.partition("\n")
    assert first.startswith("wg: the tables of namespace 'wg' do not exist, and auto_migrate is off; run 'wg migrate'")
    store.run_script(script)
    assert wg(f"{store.url}{mark}auto_migrate=false", "status").exit_code == 0


@pytest.mark.parametrize("option", [(), ("--sql",), ("--check",)])
def test_somebody_elses_table_is_exit_code_4_and_one_line(store: Store, option: tuple[str, ...]) -> None:
    store.execute("CREATE TABLE wg_jobs (x INTEGER)")
    result = wg(store.url, "migrate", *option)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (4, "", 1)
    assert "'wg_jobs' exists but was not made by wg" in result.stderr


def test_what_sql_prints_for_redis_is_for_redis_cli(redis_url: str, fresh_namespace: str) -> None:
    printed = wg(redis_url, "migrate", "--sql", namespace=fresh_namespace)
    assert printed.exit_code == 0
    assert wg(redis_url, "migrate", "--check", namespace=fresh_namespace).exit_code == 4
    subprocess.run(["redis-cli", "-u", redis_url], input=printed.stdout, text=True, check=True, capture_output=True)
    assert wg(redis_url, "migrate", "--check", namespace=fresh_namespace).exit_code == 0
    with open_backend(redis_url, namespace=fresh_namespace) as backend:
        assert backend.migrate(dry_run=True).statements == ()


def test_a_store_without_a_schema_has_nothing_to_do(fresh_namespace: str) -> None:
    for option in ((), ("--sql",), ("--check",)):
        assert wg("memory:", "migrate", *option, namespace=fresh_namespace).exit_code == 0
