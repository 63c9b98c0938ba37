"""`wg health`: ask the store for a sign of life, and look at its settings."""

from __future__ import annotations

import click

from wg_core.cli import output
from wg_core.cli._options import StoreAddress, json_option, store_options
from wg_core.registry import redact


@click.command()
@json_option
@store_options
def health(*, store: StoreAddress, as_json: bool) -> None:
    """Ask the store for a round trip; warnings say what to change and why. Exit code 3 when it cannot be reached."""
    with store.open() as backend:
        found = backend.health()
    if as_json:
        output.print_json(
            {
                "url": redact(store.url),
                "server": found.server,
                "latency_seconds": found.latency_seconds,
                "warnings": list(found.warnings),
                "details": found.details,
            }
        )
        return
    output.print_pairs(
        [
            ("store", redact(store.url)),
            ("server", found.server),
            ("latency", f"{found.latency_seconds * 1_000:.1f} ms"),
            *((key.replace("_", " "), value) for key, value in found.details.items()),
        ]
    )
    for warning in found.warnings:
        click.echo(f"warning: {output.printable(warning)}")
