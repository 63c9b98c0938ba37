"""The verdict of the demo: each way in which jobs can be lost or run twice is told from the journal."""

from __future__ import annotations

from wg_core.demo.checker import Verdict, check
from wg_core.demo.journal import Event, EventKind

ANNA, BERT = 101, 102


def line(kind: EventKind, file: str = "", *, run: int = 1, pid: int = ANNA, size: int = 0) -> Event:
    return Event(kind=kind, pid=pid, at=0.0, file=file, job=f"job-{file}", lease_no=run, bytes_read=size)


def started(file: str, *, run: int = 1, pid: int = ANNA) -> Event:
    return line(EventKind.STARTED, file, run=run, pid=pid)


def packed(file: str, *, run: int = 1, pid: int = ANNA, size: int = 10) -> Event:
    return line(EventKind.PACKED, file, run=run, pid=pid, size=size)


def failed(file: str, *, run: int = 1) -> Event:
    return line(EventKind.FAILED, file, run=run)


def kill(pid: int) -> Event:
    return line(EventKind.KILL, pid=pid)


def verdict_on(*events: Event, files: str = "a", dead: str = "") -> Verdict:
    return check(list(files), events, set(dead))


def test_a_file_that_was_packed_once_is_neither_lost_nor_run_twice() -> None:
    verdict = verdict_on(started("a"), packed("a", size=7))
    assert verdict.is_good
    assert (verdict.packed, verdict.bytes_read, verdict.lost, verdict.run_twice) == (1, 7, (), ())


def test_a_file_that_nobody_started_is_lost() -> None:
    verdict = verdict_on(started("a"), packed("a"), files="ab")
    assert verdict.lost == ("b",)
    assert not verdict.is_good


def test_a_file_whose_run_never_ended_is_lost() -> None:
    assert verdict_on(started("a")).lost == ("a",)


def test_a_file_whose_run_was_killed_and_never_repeated_is_lost() -> None:
    verdict = verdict_on(started("a"), kill(ANNA))
    assert (verdict.lost, verdict.interrupted) == (("a",), 1)


def test_a_dead_letter_is_not_lost() -> None:
    verdict = verdict_on(started("a"), line(EventKind.REFUSED, "a"), dead="a")
    assert verdict.is_good
    assert verdict.dead == ("a",)


def test_a_refused_file_that_is_no_dead_letter_is_lost() -> None:
    assert verdict_on(started("a"), line(EventKind.REFUSED, "a")).lost == ("a",)


def test_a_failure_by_design_explains_the_next_run() -> None:
    verdict = verdict_on(started("a"), failed("a"), started("a", run=2), packed("a", run=2))
    assert verdict.is_good
    assert (verdict.retries, verdict.run_twice) == (1, ())


def test_a_kill_explains_a_second_run_and_counts_as_interrupted() -> None:
    verdict = verdict_on(started("a"), kill(ANNA), started("a", run=2, pid=BERT), packed("a", run=2, pid=BERT))
    assert verdict.is_good
    assert (verdict.interrupted, verdict.run_twice, verdict.killed_pids) == (1, ("a",), (ANNA,))


def test_a_job_that_ended_but_was_killed_before_its_report_ran_twice_uninterrupted() -> None:
    verdict = verdict_on(
        started("a"), packed("a"), kill(ANNA), started("a", run=2, pid=BERT), packed("a", run=2, pid=BERT)
    )
    assert verdict.is_good
    assert (verdict.interrupted, verdict.run_twice, verdict.packed, verdict.bytes_read) == (0, ("a",), 1, 10)


def test_a_second_run_without_a_reason_is_named() -> None:
    verdict = verdict_on(started("a"), packed("a"), started("a", run=2), packed("a", run=2))
    assert verdict.unexplained == ("a",)
    assert not verdict.is_good


def test_the_kill_of_another_process_explains_nothing() -> None:
    verdict = verdict_on(started("a"), kill(BERT), started("a", run=2), packed("a", run=2))
    assert verdict.unexplained == ("a",)


def test_a_second_run_that_began_before_the_kill_is_not_explained_by_it() -> None:
    verdict = verdict_on(started("a"), started("a", run=2, pid=BERT), kill(ANNA), packed("a", run=2, pid=BERT))
    assert verdict.unexplained == ("a",)


def test_an_end_without_a_start_is_named() -> None:
    assert verdict_on(packed("a")).unexplained == ("a",)


def test_the_same_run_ending_twice_is_named() -> None:
    assert verdict_on(started("a"), packed("a"), packed("a")).unexplained == ("a",)


def test_the_recovery_time_runs_from_the_kill_to_the_first_run_again() -> None:
    again = Event(kind=EventKind.STARTED, pid=BERT, at=0.25, file="a", job="job-a", lease_no=2)
    verdict = verdict_on(started("a"), kill(ANNA), again, packed("a", run=2, pid=BERT))
    assert verdict.recovery_seconds == 0.25
    assert verdict_on(started("a"), packed("a")).recovery_seconds is None
