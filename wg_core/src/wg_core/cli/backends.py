"""`wg backends`: the stores that are installed here."""

from __future__ import annotations

import click

from wg_core.cli import output
from wg_core.cli._options import json_option
from wg_core.registry import installed_backends


@click.command()
@json_option
def backends(*, as_json: bool) -> None:
    """List the URL schemes that are installed, and which distribution brings each."""
    found = installed_backends()
    if as_json:
        output.print_json(
            [{"scheme": scheme, "distribution": name, "version": version} for scheme, name, version in found]
        )
        return
    table = output.Table(("scheme", "distribution", "version"))
    for row in found:
        table.add(*row)
    table.show("no backends")
