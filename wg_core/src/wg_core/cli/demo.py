"""`wg demo`: see what wg does."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Iterator
from typing import Any

import click

from wg_core.cli import _errors, output
from wg_core.cli._options import debug_option, json_option
from wg_core.demo.display import best_display
from wg_core.demo.runner import Summary, run_demo
from wg_core.demo.sources import short_name

NEXT_STEPS = """
Next: write your own job     from wg_core import job          @job on any function, then .enqueue(...)
      run it                 wg worker --url {url} your_module
      look at it             wg status --url {url}   (and: wg jobs list, wg dead list, wg --help)"""


@click.command()
@click.option("--url", help="Another store than a SQLite file in a temporary folder; in a namespace of its own.")
@click.option("--files", type=click.IntRange(min=1), help="At most so many jobs.")
@click.option("--keep", is_flag=True, help="Keep the folder with the journal and the worker's log.")
@json_option
@debug_option
def demo(*, url: str | None, files: int | None, keep: bool, as_json: bool) -> None:
    """Run some two thousand real jobs, kill a worker process half-way, and show that nothing is lost.

    Exit code 1 when a job was lost, or ran twice without a reason.
    """
    display = best_display(quiet=as_json)
    with _stoppable():
        summary = run_demo(display, url=url, limit=files, keep=keep)
    if as_json:
        output.print_json(_as_dict(summary))
    else:
        _print_summary(summary)
        if summary.is_good:
            click.echo(NEXT_STEPS.format(url="sqlite:jobs.db" if url is None else summary.url))
    if not summary.is_good:
        click.get_current_context().exit(_errors.ExitCode.FAILED)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: with its worker stopped and its folder removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_summary(summary: Summary) -> None:
    verdict = summary.verdict
    rate = verdict.files / summary.seconds
    megabytes = verdict.bytes_read / 1e6
    click.echo()
    output.print_pairs(
        [
            ("files", f"{verdict.files:,} ({megabytes:.1f} MB, {verdict.tokens:,} tokens)"),
            ("compressed", f"to {verdict.bytes_packed / 1e6:.1f} MB"),
            ("jobs/s", f"{rate:,.0f} ({summary.seconds:.1f} s, two processes)"),
            ("retries", f"{verdict.retries} failed by design and ran again"),
            ("dead letters", ", ".join(short_name(file) for file in verdict.dead) or "none"),
            ("killed", _killed(summary)),
            ("kept in", summary.folder),
        ]
    )
    _print_verdict(summary)


def _killed(summary: Summary) -> str:
    verdict = summary.verdict
    if not verdict.killed_pids:
        return "none: the jobs were over too soon"
    pids = ", ".join(map(str, verdict.killed_pids))
    again = (
        "" if verdict.recovery_seconds is None else f", the first begun again after {verdict.recovery_seconds:.2f} s"
    )
    return f"pid {pids} with SIGKILL: {output.plural(verdict.interrupted, 'interrupted run')}{again}"


def _print_verdict(summary: Summary) -> None:
    verdict = summary.verdict
    colour = "green" if summary.is_good else "red"
    click.echo()
    click.secho(f"lost: {len(verdict.lost)}, run twice: {len(verdict.run_twice)}", fg=colour, bold=True)
    unreported = len(verdict.run_twice) - verdict.interrupted
    if unreported > 0:
        click.echo(f"({verdict.interrupted} were cut off by the kill, {unreported} had ended but not yet reported it)")
    for title, found in (("lost", verdict.lost), ("run again without a reason", verdict.unexplained)):
        for file in found:
            click.secho(f"  {title}: {file}", fg="red")
    if summary.worker_exit_code != 0:
        click.secho(f"  the worker ended with exit code {summary.worker_exit_code}", fg="red")
    if summary.is_good:
        click.echo("(counted from a journal that the jobs wrote by themselves, apart from the store)")


def _as_dict(summary: Summary) -> dict[str, Any]:
    """Return the summary for JSON."""
    view = dataclasses.asdict(summary)
    verdict = view.pop("verdict")
    return {**verdict, "jobs_per_second": round(verdict["files"] / summary.seconds, 1), **view, "ok": summary.is_good}
