"""What the demo shows where there is no terminal."""

from __future__ import annotations

import pytest

from wg_core.demo.display import PlainDisplay, Progress, RichDisplay, SilentDisplay, best_display


def progress(done: int) -> Progress:
    return Progress(done=done, total=200, retries=3)


def test_without_a_terminal_each_tenth_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay() as display:
        for done in range(45):
            display.show(progress(done))
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["   10 %  20 of 200 jobs, 3 failed by design", "   20 %  40 of 200 jobs, 3 failed by design"]


def test_a_quiet_display_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with SilentDisplay() as display:
        display.say("hello")
        display.show(progress(100))
    assert capsys.readouterr().out == ""


def test_the_display_fits_what_stdout_is() -> None:
    assert isinstance(best_display(quiet=True), SilentDisplay)
    assert isinstance(best_display(quiet=False), PlainDisplay)


def test_a_bar_keeps_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    with RichDisplay() as display:
        display.show(progress(100))
        display.say("killed [process] 7")
    assert "killed [process] 7" in capsys.readouterr().out
