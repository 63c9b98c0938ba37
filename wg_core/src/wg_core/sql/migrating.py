"""The schema: created at first use, upgraded in numbered steps, and never taken over from somebody else.

`{namespace}_meta` holds `schema_version`, `min_compatible` and `store_id`. A version of wg works with a newer schema
as long as it is at least `min_compatible`. Steps only add, so that old and new workers can run side by side.

`meta` is made first, with version 0 ("being made"), and the version is written last. Where every DDL statement commits
by itself, whoever finds an earlier version makes what is missing; elsewhere all of it happens in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ClauseElement, Table, literal, select, update
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

from wg_core.errors import SchemaError
from wg_core.protocol import Migration
from wg_core.sql.flavor import Flavor
from wg_core.sql.prepared import prepare
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Transaction

SCHEMA_VERSION = 2
MIN_COMPATIBLE = 1
"""The oldest version of the toolkit that can work with this schema."""
BEING_MADE = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One statement that adds something to the schema."""

    statement: ClauseElement
    adds: tuple[str, str] | None = None
    """(table, index or column), with "" for the table itself: not run again where it is. None: harmless to repeat."""


Step = Callable[[Tables, Flavor], list[Change]]
STEPS: dict[int, Step] = {2: lambda tables, flavor: [_new_store_id(tables, flavor)]}
"""By the version they lead to: what is added to the version before. A new store gets the latest tables at once."""


def plan(tx: Transaction) -> Migration:
    """Return what there is to do, without doing it; SchemaError when the tables are not ours or too new."""
    tables, flavor = tx.statements.tables, tx.flavor
    found = _stored_version(tx)
    if found is None:
        return plan_for_nothing(tables, flavor, in_schema=flavor.schema_exists(tx))
    if found >= SCHEMA_VERSION:
        return Migration(from_version=found, to_version=found)
    changes = _changes(tables, flavor, found)
    if flavor.ddl_commits:
        present = _present(tx, changes)
        changes = [change for change in changes if change.adds not in present]
    return _migration(None if found == BEING_MADE else found, changes, tables, flavor)


def plan_for_nothing(tables: Tables, flavor: Flavor, *, in_schema: bool = True) -> Migration:
    """Return what would be done where there is no store yet, or not even the database schema for its tables."""
    container = [] if in_schema else [Change(CreateSchema(str(tables.schema)))]
    return _migration(None, [*container, *_changes(tables, flavor, BEING_MADE)], tables, flavor)


def migrate(tx: Transaction) -> Migration:
    """Bring the schema up to date inside a write transaction; whoever comes second finds it done."""
    with tx.flavor.lock_schema(tx):
        migration = plan(tx)
        for statement in migration.statements:
            tx.cursor.execute(statement, ())
    return migration


def due_error(tables: Tables, due: Migration, reason: str) -> SchemaError:
    """Return the error of somebody who may not change the schema, with the statements that somebody else has to run."""
    state = "do not exist" if due.from_version is None else f"have version {due.from_version}, not {due.to_version}"
    why = " ".join(reason.split())  # the first line says it all, and the statements follow
    return SchemaError(
        f"the tables of namespace {tables.namespace!r} {state}, and {why}; run 'wg migrate' as a user who may, or "
        f"these statements (wg migrate --sql prints them):\n{due.script}",
        version=due.from_version,
        statements=due.statements,
    )


# ---------------------------------------------------------------------- what is there


def _stored_version(tx: Transaction) -> int | None:
    tables = tx.statements.tables
    if not _has_meta(tx):
        return None
    versions = dict(tx.rows(prepare(select(tables.meta.c.key, tables.meta.c.value), tx.flavor.dialect)))
    if not versions and tx.flavor.ddl_commits:  # whoever made it was stopped before the next statement
        return BEING_MADE
    try:
        version, min_compatible = int(versions["schema_version"]), int(versions["min_compatible"])
    except (KeyError, ValueError):
        raise SchemaError(
            f"table {tables.meta.fullname!r} exists but does not say schema_version and min_compatible: not ours"
        ) from None
    if min_compatible > SCHEMA_VERSION:
        raise SchemaError(
            f"the tables of namespace {tables.namespace!r} have version {version} and need at least version "
            f"{min_compatible}, this wg has version {SCHEMA_VERSION}: upgrade wg-core",
            version=version,
        )
    return version


def _has_meta(tx: Transaction) -> bool:
    tables = tx.statements.tables
    for _ in range(2):  # the second look is for a list that was read while somebody was making the tables
        present = tx.flavor.existing_tables(tx, tables.names)
        if tables.meta.name in present:
            return True
    if present:
        raise SchemaError(
            f"table {min(present)!r} exists but was not made by wg (there is no {tables.meta.fullname!r}): "
            f"choose another namespace, or rename the table"
        )
    return False


def _present(tx: Transaction, changes: Sequence[Change]) -> set[tuple[str, str]]:
    names = list({change.adds[0] for change in changes if change.adds})
    return {*((name, "") for name in tx.flavor.existing_tables(tx, names)), *tx.flavor.existing_parts(tx, names)}


# ---------------------------------------------------------------------- what is to be done


def _changes(tables: Tables, flavor: Flavor, found: int) -> list[Change]:
    if found == BEING_MADE:
        changes = _creation(tables, flavor)
    else:
        changes = [
            change for version in range(found + 1, SCHEMA_VERSION + 1) for change in STEPS[version](tables, flavor)
        ]
    return [*changes, *(Change(_set_row(tables, key, value)) for key, value in _versions(SCHEMA_VERSION))]


def _creation(tables: Tables, flavor: Flavor) -> list[Change]:
    versions = [{"key": key, "value": literal(value)} for key, value in _versions(BEING_MADE)]
    others = [table for table in tables.metadata.sorted_tables if table is not tables.meta]
    made = [change for table in others for change in _table(table)]
    first = Change(flavor.insert_ignore(tables.meta).values(versions))  # both or none
    return [*_table(tables.meta), first, *made, _new_store_id(tables, flavor)]


def _table(table: Table) -> Iterator[Change]:
    yield Change(CreateTable(table), (table.name, ""))
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield Change(CreateIndex(index), (table.name, str(index.name)))


def _versions(version: int) -> Iterable[tuple[str, str]]:
    return (("min_compatible", str(MIN_COMPATIBLE)), ("schema_version", str(version)))  # in the order of writing


def _new_store_id(tables: Tables, flavor: Flavor) -> Change:
    """Let the store name itself, so that statements printed once and run on two databases make two stores."""
    return Change(flavor.insert_ignore(tables.meta).values(key="store_id", value=flavor.new_store_id()))


def _set_row(tables: Tables, key: str, value: str) -> ClauseElement:
    return update(tables.meta).where(tables.meta.c.key == key).values(value=value)


def _migration(found: int | None, changes: Iterable[Change], tables: Tables, flavor: Flavor) -> Migration:
    statements = tuple(_text(change.statement, tables, flavor) for change in changes)
    whole = statements if flavor.ddl_commits else ("BEGIN", *statements, "COMMIT")
    script = "".join(f"{statement};\n" for statement in whole)
    return Migration(from_version=found, to_version=SCHEMA_VERSION, statements=statements, script=script)


def _text(element: ClauseElement, tables: Tables, flavor: Flavor) -> str:
    compiled = element.compile(dialect=flavor.dialect, compile_kwargs={"literal_binds": True})
    text = "\n".join(line.rstrip() for line in str(compiled).strip().splitlines())
    if isinstance(element, CreateTable):
        text += flavor.table_suffix(element.element, is_hot=element.element in tables.hot)
    return text
