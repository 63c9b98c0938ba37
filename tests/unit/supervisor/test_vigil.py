"""May I beat for this child: the decision, and how silence is measured."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys

import pytest

from wg_core._board import RunningHandler
from wg_core._vigil import DEADLINE_GRACE_SECONDS, MOST_SILENT_SECONDS, Pulse, Verdict, judge, process_state

NOW = 1_000.0
HEARTBEAT, LEASE = 2.0, 30.0


def handler(deadline: float) -> RunningHandler:
    return RunningHandler("job", 1, deadline)


AHEAD, OVER, LATE = handler(NOW + 100), handler(NOW - 100), handler(NOW - DEADLINE_GRACE_SECONDS / 2)
WITHOUT_TIMEOUT = handler(math.inf)


@pytest.mark.parametrize(
    ("is_stopped", "silent_seconds", "running", "verdict"),
    [
        pytest.param(False, 0.0, [], Verdict.BEAT, id="the tick moved"),
        pytest.param(False, HEARTBEAT, [OVER], Verdict.BEAT, id="the tick moved within a beat"),
        pytest.param(False, HEARTBEAT + 0.1, [], Verdict.WAIT, id="silent without a reason"),
        pytest.param(False, LEASE + 0.1, [], Verdict.REPLACE, id="silent for a lease without a reason"),
        pytest.param(False, 60.0, [AHEAD], Verdict.BEAT, id="a handler holds the GIL, its deadline lies ahead"),
        pytest.param(False, 60.0, [OVER, AHEAD], Verdict.BEAT, id="one of several may still hold the GIL"),
        pytest.param(False, 60.0, [LATE], Verdict.BEAT, id="just past its deadline"),
        pytest.param(False, 60.0, [OVER], Verdict.REPLACE, id="holds the GIL past its deadline"),
        pytest.param(False, 10.0, [OVER], Verdict.WAIT, id="past its deadline, but silent for a moment only"),
        pytest.param(False, MOST_SILENT_SECONDS, [WITHOUT_TIMEOUT], Verdict.BEAT, id="no timeout, within the hour"),
        pytest.param(
            False, MOST_SILENT_SECONDS + 1, [WITHOUT_TIMEOUT], Verdict.REPLACE, id="no timeout, the hour is over"
        ),
        pytest.param(False, MOST_SILENT_SECONDS + 1, [AHEAD], Verdict.REPLACE, id="a long timeout, the hour is over"),
        pytest.param(True, 0.0, [], Verdict.WAIT, id="stopped, though the tick moved before"),
        pytest.param(True, 10.0, [AHEAD], Verdict.WAIT, id="stopped, whatever runs"),
        pytest.param(True, LEASE + 0.1, [WITHOUT_TIMEOUT], Verdict.REPLACE, id="stopped for longer than a lease"),
    ],
)
def test_the_verdict_over_a_process(
    is_stopped: bool, silent_seconds: float, running: list[RunningHandler], verdict: Verdict
) -> None:
    assert (
        judge(
            is_stopped=is_stopped,
            silent_seconds=silent_seconds,
            running=running,
            now=NOW,
            heartbeat_seconds=HEARTBEAT,
            lease_seconds=LEASE,
        )
        is verdict
    )


def test_silence_is_counted_while_the_tick_stands_still() -> None:
    pulse = Pulse(most_per_look_seconds=4.0)
    assert [pulse.look(ticks, now) for ticks, now in [(1, 10.0), (1, 12.0), (1, 13.0), (2, 15.0), (2, 16.0)]] == [
        0.0,
        2.0,
        3.0,
        0.0,
        1.0,
    ]


def test_a_gap_in_which_nobody_looked_hardly_counts_as_silence() -> None:
    pulse = Pulse(most_per_look_seconds=4.0)
    pulse.look(1, 10.0)
    assert pulse.look(1, 10_000.0) == 4.0


def test_a_tick_that_went_down_moved_too() -> None:
    pulse = Pulse(most_per_look_seconds=4.0)
    pulse.look(2**64 - 1, 10.0)
    assert pulse.look(0, 12.0) == 0.0


def test_a_stopped_process_is_seen_as_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process_state(process.pid) not in {"T", ""}
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert process_state(process.pid) == "T"
        process.kill()
    assert process_state(process.pid) == ""
