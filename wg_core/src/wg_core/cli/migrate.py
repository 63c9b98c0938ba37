"""`wg migrate`: create or upgrade what the store needs."""

from __future__ import annotations

import click

from wg_core.cli import _errors, output
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.protocol import Migration


@click.command()
@click.option("--sql", is_flag=True, help="Write the statements instead of running them.")
@click.option("--check", is_flag=True, help="Change nothing; exit code 4 when there is something to do.")
@json_option
@store_options
def migrate(*, store: StoreAddress, sql: bool, check: bool, as_json: bool) -> None:
    """Create or upgrade the tables or keys. The first use does the same, unless the URL says auto_migrate=false."""
    with store.open() as backend:
        migration = backend.migrate(dry_run=sql or check)
    if as_json:
        output.print_json(
            {
                "from_version": migration.from_version,
                "to_version": migration.to_version,
                "statements": list(migration.statements),
            }
        )
    elif sql and migration.statements:
        click.echo((migration.script or "\n".join(migration.statements)).rstrip())
    else:
        click.echo(_sentence(migration, dry_run=sql or check), err=sql)
    if check and _is_due(migration):
        click.get_current_context().exit(_errors.ExitCode.SCHEMA)


def _is_due(migration: Migration) -> bool:
    return bool(migration.statements) or migration.from_version != migration.to_version


def _sentence(migration: Migration, *, dry_run: bool) -> str:
    if not _is_due(migration):
        return f"schema version {migration.to_version}: nothing to do"
    before = "no schema" if migration.from_version is None else f"version {migration.from_version}"
    return f"{'would go' if dry_run else 'went'} from {before} to version {migration.to_version}"
