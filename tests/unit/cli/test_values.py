"""Durations, moments and tables: small pure things."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import click
import pytest

from wg_core.cli import output
from wg_core.cli._options import duration, moment, names
from wg_core.cli.worker import worker
from wg_core.settings import WorkerSettings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("5m", 300), ("5min", 300), ("2h", 7200), ("7d", 604_800), ("0", 0)],
)
def test_durations_are_written_with_a_unit_or_as_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1w", "nan", "inf", "1e3", "1 h 5", "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration"):
        duration(text)


def test_a_moment_keeps_its_offset() -> None:
    assert moment("2030-01-31T08:00:00+01:00").isoformat() == "2030-01-31T08:00:00+01:00"


def test_names_are_split_at_commas_and_trimmed() -> None:
    assert names("mail, default,,low") == ("mail", "default", "low")


def test_moments_are_written_in_utc_with_milliseconds() -> None:
    assert output.iso(1_700_000_000_042) == "2023-11-14T22:13:20.042Z"
    assert output.iso(None) is None


@pytest.mark.parametrize(
    ("seconds_ago", "text"),
    [(0.3, "s ago"), (12.5, "12 s ago"), (185, "3 min ago"), (7_300, "2 h ago"), (-90, "in 1 min")],
)
def test_a_moment_is_told_as_its_distance_from_now(
    seconds_ago: float, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "time", SimpleNamespace(time=lambda: 1_700_000_000.0))
    assert text in (output.ago(int((1_700_000_000.0 - seconds_ago) * 1_000)) or "")


def test_a_plain_table_aligns_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    table = output.Table(("queue", "ready"), numbers=frozenset({"ready"}))
    table.add("mail", 7)
    table.add("a-long-name", 1200)
    table.show("none")
    assert capsys.readouterr().out == "QUEUE        READY\nmail             7\na-long-name   1200\n"


def test_an_empty_table_says_so_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    output.Table(("queue",)).show("no queues")
    assert capsys.readouterr() == ("", "no queues\n")


def test_every_worker_setting_has_a_flag_and_an_environment_variable() -> None:
    flags = {parameter.name: parameter for parameter in worker.params}
    for setting in fields(WorkerSettings):
        assert flags[setting.name].opts == [f"--{setting.name.replace('_', '-')}"]
        assert flags[setting.name].envvar == f"WG_WORKER_{setting.name.upper()}"
