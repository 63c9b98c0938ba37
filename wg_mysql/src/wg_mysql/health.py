"""What `wg health` says of a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wg_core.sql import ServerReport, Transaction
from wg_mysql.options import MySQLOptions
from wg_mysql.server import Server

_VARIABLES = ("log_bin", "binlog_format", "innodb_flush_log_at_trx_commit", "read_only", "max_allowed_packet")


def inspect_server(tx: Transaction, server: Server, options: MySQLOptions) -> ServerReport:
    """Read the settings that matter."""
    tx.cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", (list(_VARIABLES),))
    settings = {str(name).lower(): str(value) for name, value in tx.cursor.fetchall()}
    details = {"database": options.database, **settings, "returning": tx.flavor.deletes_return_rows}
    return ServerReport(server.name, tuple(warnings_of(server, settings)), details)


def warnings_of(server: Server, settings: Mapping[str, str]) -> Iterator[str]:
    """Say what of a server's settings puts jobs at risk, and what to do."""
    if settings.get("log_bin") == "ON" and settings.get("binlog_format") == "STATEMENT":
        yield (
            "binlog_format=STATEMENT: the server refuses writes in READ COMMITTED, and replicas could not repeat "
            "SKIP LOCKED; use ROW"
        )
    if (flush := settings.get("innodb_flush_log_at_trx_commit", "1")) != "1":
        yield (
            f"innodb_flush_log_at_trx_commit={flush}: a crash of the machine can lose the last second of jobs that "
            f"were answered as stored; use 1"
        )
    if settings.get("read_only", "OFF") not in {"OFF", "0"}:
        yield "read_only: this server takes no jobs; connect to the primary"
    if not server.counts_trailing_spaces:
        yield (
            f"{server.name} does not tell names apart that differ in trailing spaces ('mail' and 'mail '); use MySQL "
            f"8.0.17 or newer"
        )
