"""What `wg health` says of a PostgreSQL server."""

from __future__ import annotations

from typing import Any

from wg_core.sql import ServerReport, Transaction

OLDEST_VERSION = 13
_OLD_TRANSACTION_SECONDS = 300.0
"""A transaction open for longer keeps dead rows in place that every claim must step over."""

_SETTINGS = ("server_version", "server_version_num", "fsync", "full_page_writes", "synchronous_commit", "autovacuum")
_OLDEST_TRANSACTION = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
"""
_DEAD_ROWS = """
    SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname = ANY(%s)
"""


def inspect_server(tx: Transaction) -> ServerReport:
    """Read the settings that matter, and how far vacuum is held back."""
    settings = {name: str(_value(tx, f"SELECT current_setting('{name}')")) for name in _SETTINGS}
    is_standby = bool(_value(tx, "SELECT pg_is_in_recovery()"))
    age = float(_value(tx, _OLDEST_TRANSACTION))
    details = {
        "database": _value(tx, "SELECT current_database()"),
        "encoding": _value(tx, "SELECT current_setting('server_encoding')"),
        "synchronous_commit": settings["synchronous_commit"],
        "dead_rows": _value(tx, _DEAD_ROWS, list(tx.statements.tables.metadata.tables)),
        "oldest_transaction_seconds": round(age, 1),
    }
    warnings = [*_about_durability(settings), *_about_vacuum(settings, age)]
    if int(settings["server_version_num"]) // 10_000 < OLDEST_VERSION:
        warnings.append(f"PostgreSQL {settings['server_version']} is not supported: use {OLDEST_VERSION} or newer")
    if details["encoding"] != "UTF8":
        warnings.append(f"the database is encoded in {details['encoding']}: texts that it cannot hold are refused")
    if is_standby:
        warnings.append("this is a standby, which cannot be written; add target_session_attrs=read-write to the URL")
    return ServerReport(f"PostgreSQL {settings['server_version']}", tuple(warnings), details)


def _about_durability(settings: dict[str, str]) -> list[str]:
    """Return what may be lost."""
    warnings = [
        f"{name}=off: a crash of the machine can damage the database; switch it on"
        for name in ("fsync", "full_page_writes")
        if settings[name] == "off"
    ]
    if settings["synchronous_commit"] == "off":
        warnings.append("synchronous_commit=off: a crash may lose the last moments, jobs that were answered included")
    return warnings


def _about_vacuum(settings: dict[str, str], age: float) -> list[str]:
    warnings = []
    if settings["autovacuum"] == "off":
        warnings.append("autovacuum=off: the tables of a queue grow without end; switch it on")
    if age > _OLD_TRANSACTION_SECONDS:
        warnings.append(
            f"a transaction has been open for {age:.0f} s: vacuum cannot clear away what was finished since, and "
            f"claims become slow; find it in pg_stat_activity (backend_xmin)"
        )
    return warnings


def _value(tx: Transaction, query: str, *arguments: Any) -> Any:
    tx.cursor.execute(query, arguments)
    return tx.cursor.fetchall()[0][0]
