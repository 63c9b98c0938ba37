"""The schema: created at first use, upgraded in numbered steps, and never taken over from somebody else.

`{namespace}_meta` holds `schema_version` and `min_compatible`. A version of wg works with a newer schema as long as it
is at least `min_compatible`. Steps only add, so that old and new workers can run side by side.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ClauseElement, insert, select, update
from sqlalchemy.schema import CreateIndex, CreateTable

from wg_core.errors import SchemaError
from wg_core.protocol import Migration
from wg_core.sql.flavor import Flavor
from wg_core.sql.prepared import prepare
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Transaction

SCHEMA_VERSION = 1
MIN_COMPATIBLE = 1
"""The oldest version of the toolkit that can work with this schema."""

Step = Callable[[Tables], list[ClauseElement]]
STEPS: dict[int, Step] = {}
"""By the version they lead to: the DDL that adds what is new. A new store gets the latest tables at once."""


def plan(tx: Transaction) -> Migration:
    """Return what there is to do, without doing it; SchemaError when the tables are not ours or too new."""
    found = _stored_version(tx)
    tables, flavor = tx.statements.tables, tx.flavor
    if found is None:
        return Migration(from_version=None, to_version=SCHEMA_VERSION, statements=_creation(tables, flavor))
    if found >= SCHEMA_VERSION:
        return Migration(from_version=found, to_version=found)
    steps = [step for version in range(found + 1, SCHEMA_VERSION + 1) for step in STEPS[version](tables)]
    statements = (*(_text(step, flavor) for step in steps), *_version_statements(tables, flavor, is_new=False))
    return Migration(from_version=found, to_version=SCHEMA_VERSION, statements=statements)


def plan_for_nothing(tables: Tables, flavor: Flavor) -> Migration:
    """Return what would be done where there is no store yet."""
    return Migration(from_version=None, to_version=SCHEMA_VERSION, statements=_creation(tables, flavor))


def migrate(tx: Transaction) -> Migration:
    """Bring the schema up to date inside a write transaction; whoever comes second finds it done."""
    tx.flavor.lock_schema(tx)
    migration = plan(tx)
    for statement in migration.statements:
        tx.cursor.execute(statement, ())
    return migration


def _stored_version(tx: Transaction) -> int | None:
    tables = tx.statements.tables
    meta = tables.meta.name
    present = tx.flavor.existing_tables(tx, list(tables.metadata.tables))
    if meta not in present:
        if present:
            raise SchemaError(
                f"table {min(present)!r} exists but was not made by wg (there is no {meta!r}): "
                f"choose another namespace, or rename the table"
            )
        return None
    versions = dict(tx.rows(prepare(select(tables.meta.c.key, tables.meta.c.value), tx.flavor.dialect)))
    try:
        version, min_compatible = int(versions["schema_version"]), int(versions["min_compatible"])
    except (KeyError, ValueError):
        raise SchemaError(
            f"table {meta!r} exists but does not say schema_version and min_compatible: not ours"
        ) from None
    if min_compatible > SCHEMA_VERSION:
        raise SchemaError(
            f"the tables of namespace {tables.namespace!r} have version {version} and need at least version "
            f"{min_compatible}, this wg has version {SCHEMA_VERSION}: upgrade wg-core",
            version=version,
        )
    return version


def _creation(tables: Tables, flavor: Flavor) -> tuple[str, ...]:
    statements = []
    for table in tables.metadata.sorted_tables:
        statements.append(_text(CreateTable(table), flavor))
        statements += [_text(CreateIndex(index), flavor) for index in sorted(table.indexes, key=lambda i: str(i.name))]
    return (*statements, *_version_statements(tables, flavor, is_new=True))


def _version_statements(tables: Tables, flavor: Flavor, *, is_new: bool) -> tuple[str, ...]:
    texts = []
    for key, value in (("schema_version", SCHEMA_VERSION), ("min_compatible", MIN_COMPATIBLE)):
        row = {"key": key, "value": str(value)}
        change = update(tables.meta).where(tables.meta.c.key == key).values(value=str(value))
        texts.append(_text(insert(tables.meta).values(row) if is_new else change, flavor))
    return tuple(texts)


def _text(element: ClauseElement, flavor: Flavor) -> str:
    compiled = element.compile(dialect=flavor.dialect, compile_kwargs={"literal_binds": True})
    return "\n".join(line.rstrip() for line in str(compiled).strip().splitlines())
