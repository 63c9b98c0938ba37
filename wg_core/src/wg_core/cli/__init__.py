"""The command line `wg`.

One module per group of commands, imported only when its command is typed, so that `wg --help` answers at once and
no command pays for another's imports. No driver is imported before the store's URL is known.
"""

from __future__ import annotations

import click

from wg_core.cli._group import CommandLine

HELP = """A job queue for Python on the store you already run.

A URL picks the store: --url or WG_URL, for example sqlite:jobs.db or redis://localhost:6379. Try `wg demo` first.
"""


@click.group(cls=CommandLine, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wg-core", prog_name="wg", message="%(prog)s %(version)s")
def cli() -> None:
    """Do nothing of its own: every command is a sub-command."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    cli.main(prog_name="wg")
