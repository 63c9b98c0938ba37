"""The top-level command: finds sub-commands without importing them all, and shows every error as one line."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

import click

from wg_core._suggest import did_you_mean
from wg_core.cli import _errors
from wg_core.errors import WgError


class _Entry(NamedTuple):
    module: str
    help: str


COMMANDS = {
    "demo": _Entry("demo", "See what wg does: real jobs, two processes, one of them killed."),
    "worker": _Entry("worker", "Run jobs."),
    "enqueue": _Entry("enqueue", "Store one job."),
    "status": _Entry("status", "Counts of the whole namespace."),
    "queues": _Entry("queues", "The queues and what waits in them."),
    "pause": _Entry("queues", "Stop handing out the jobs of a queue."),
    "resume": _Entry("queues", "Hand out the jobs of a queue again."),
    "jobs": _Entry("jobs", "List, show, cancel, delete or requeue jobs."),
    "dead": _Entry("dead", "List, show, retry, delete or purge dead letters."),
    "workers": _Entry("workers", "The worker processes that are known to the store."),
    "health": _Entry("health", "Ask the store how it is."),
    "migrate": _Entry("migrate", "Create or upgrade the tables or keys."),
    "backends": _Entry("backends", "The stores that are installed here."),
}
"""In the order of the help page. The command is the attribute of that name in its module."""


class CommandLine(click.Group):
    """A group whose commands live in modules of their own, imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, for help and shell completion."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is no such command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"wg_core.cli.{entry.module}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help page when nothing was typed."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; an unknown one is answered with the nearest."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"no such command {name!r}{did_you_mean(name, COMMANDS)}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of all commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors of wg become click's, which `main` shows."""
        try:
            return super().invoke(ctx)
        except WgError as error:
            raise _errors.translate(error, ctx) from error

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit; overridden only to say every error in one line, and Ctrl-C in none."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
            sys.stdout.flush()  # a reader that went away is noticed here, not while the interpreter shuts down
            sys.exit(code or 0)
        except click.ClickException as error:
            _errors.show(error)
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(_errors.ExitCode.FAILED)
        except BrokenPipeError:
            _close_broken_stdout()
            sys.exit(_errors.ExitCode.FAILED)


def _close_broken_stdout() -> None:
    """Keep the interpreter from complaining about the same broken pipe when it flushes at exit."""
    try:
        sys.stdout.close()
    except BrokenPipeError:
        return
