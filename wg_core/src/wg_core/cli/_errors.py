"""From an error to one line on stderr and an exit code."""

from __future__ import annotations

import enum
import traceback

import click

from wg_core.errors import (
    BackendError,
    ConfigError,
    PayloadError,
    SchemaError,
    UnknownBackendError,
    UnsupportedError,
    WgError,
)

DEBUG_KEY = "wg.debug"
"""Where --debug leaves its mark in `click.Context.meta`."""


class ExitCode(enum.IntEnum):
    """What the exit code of `wg` says; the same numbers as `wg_core.supervisor` returns."""

    CLEAN = 0
    FAILED = 1
    """Forced or interrupted; or the command ran but could not do all that was asked."""
    USAGE = 2
    UNREACHABLE = 3
    SCHEMA = 4
    IMPORT = 5


def exit_code_of(error: WgError) -> ExitCode:
    """Return the exit code for an error that ends a command."""
    match error:
        case SchemaError():
            return ExitCode.SCHEMA
        case UnsupportedError():
            return ExitCode.USAGE
        case BackendError():
            return ExitCode.UNREACHABLE
        case ConfigError() | PayloadError() | UnknownBackendError():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED


class CommandFailed(click.ClickException):
    """A command that ends with one line on stderr, statements to run below it, and the given exit code."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED, *, script: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares a constant of the class
        self.script = script


def show(error: click.ClickException) -> None:
    """Write the error as one line, with the place to read on for a wrong command line."""
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" (see: {error.ctx.command_path} --help)"
    click.echo(f"wg: {_one_line(error.format_message())}{hint}", err=True)
    if isinstance(error, CommandFailed) and error.script:
        click.echo(error.script.rstrip(), err=True)


def translate(error: WgError, context: click.Context) -> CommandFailed:
    """Return what click shows for an error of wg; with --debug its traceback is written first."""
    if context.meta.get(DEBUG_KEY):
        click.echo("".join(traceback.format_exception(error)), err=True)
    message, script = str(error) or type(error).__name__, ""
    if isinstance(error, SchemaError) and error.statements:
        message, _, script = message.partition("\n")
    return CommandFailed(message, exit_code_of(error), script=script)


def _one_line(message: str) -> str:
    return " ".join(message.split())
