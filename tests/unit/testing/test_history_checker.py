from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from wg_core.testing.history_checker import Event, HistoryLog, check, read_history


def enqueued(job_id: str, *, run_at: float | None = None) -> Event:
    return Event(time=1.0, event="enqueued", pid=1, id=job_id, run_at=run_at)


def event(kind: str, job_id: str, pid: int = 2, *, at: float = 2.0, lease_no: int = 1) -> Event:
    return Event(time=at, event=kind, pid=pid, id=job_id, attempt=lease_no, lease_no=lease_no)


def killed(pid: int) -> Event:
    return Event(time=9.0, event="killed", pid=pid)


def test_a_clean_history_is_ok() -> None:
    verdict = check([enqueued("a"), event("started", "a"), event("finished", "a")])
    assert verdict.ok
    assert (verdict.enqueued, verdict.finished, verdict.interrupted) == (1, 1, 0)


def test_a_job_that_never_finished_is_lost_unless_it_ended_otherwise() -> None:
    events = [enqueued("a"), enqueued("b"), event("started", "b"), event("failed", "b")]
    assert check(events).lost == ("a", "b")
    assert check(events, ended_otherwise={"a", "b"}).ok


def test_a_job_that_starts_while_it_runs_is_found() -> None:
    overlapping = [event("started", "a", 2), event("started", "a", 3), event("finished", "a", 2)]
    assert check([enqueued("a"), *overlapping]).at_once == ("a",)


def test_a_job_that_starts_beside_a_run_that_never_ended_is_found() -> None:
    events = [enqueued("a"), event("started", "a", 2), event("started", "a", 3), event("finished", "a", 3)]
    assert check(events).at_once == ("a",)


def test_a_second_run_after_a_kill_is_in_order_wherever_the_kill_was_noted() -> None:
    first, second = event("started", "a", 2), [event("started", "a", 3), event("finished", "a", 3)]
    for events in ([first, killed(2), *second], [first, *second, killed(2)], [killed(2), first, *second]):
        verdict = check([enqueued("a"), *events])
        assert verdict.ok
        assert verdict.interrupted == 1


def test_a_second_run_after_a_failure_is_in_order() -> None:
    first = [event("started", "a", lease_no=1), event("failed", "a", lease_no=1)]
    runs = [*first, event("started", "a", lease_no=2), event("finished", "a", lease_no=2)]
    assert check([enqueued("a"), *runs]).ok


def test_a_second_run_after_success_is_found_unless_a_kill_explains_it() -> None:
    runs = [event("started", "a", 2), event("finished", "a", 2), event("started", "a", 3), event("finished", "a", 3)]
    assert check([enqueued("a"), *runs]).run_again == ("a",)
    assert check([enqueued("a"), *runs, killed(2)]).ok


def test_a_job_that_started_before_its_time_is_found() -> None:
    runs = [event("started", "a", at=4.9), event("finished", "a")]
    assert check([enqueued("a", run_at=5.0), *runs]).early == ("a",)
    assert check([enqueued("a", run_at=4.9), *runs]).ok


def test_a_job_may_start_before_its_producer_noted_it() -> None:
    assert check([event("started", "a"), event("finished", "a"), enqueued("a")]).ok


def test_a_job_that_nobody_enqueued_is_named() -> None:
    verdict = check([event("started", "a"), event("finished", "a")])
    assert verdict.ok
    assert verdict.unknown == ("a",)


def test_many_threads_and_processes_write_one_log_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    log = HistoryLog(path)

    def write(first: int) -> None:
        for number in range(first, first + 100):
            log.started(f"{number}", attempt=1, lease_no=1)
            log.finished(f"{number}", attempt=1, lease_no=1)

    code = (
        "import sys; from pathlib import Path; from wg_core.testing.history_checker import HistoryLog\n"
        "for number in range(100): HistoryLog(Path(sys.argv[1])).enqueued(str(number))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as producer:
        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert producer.returncode == 0
    log.failed("100", attempt=2, lease_no=2)
    log.killed(4711)
    events = read_history(path)
    assert len(events) == 100 + 600 + 2
    assert {event.pid for event in events} == {os.getpid(), producer.pid, 4711}
    assert check(events).finished == 300
