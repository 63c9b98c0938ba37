"""The board: what one process writes, another reads, also when the writer was killed in the middle."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wg_core._board import RunningHandler, SharedBoard, create_memory


@pytest.fixture
def memory() -> Iterator[int]:
    fd = create_memory(4)
    yield fd
    os.close(fd)


def test_a_fresh_board_shows_nothing(memory: int) -> None:
    board = SharedBoard(memory, 4)
    assert board.ticks == 0
    assert board.running() == []


def test_the_reader_sees_what_the_writer_shows(memory: int) -> None:
    writer, reader = SharedBoard(memory, 4), SharedBoard(memory, 4)
    writer.started(1, "job-a", 7, 123.5)
    writer.started(3, "j" * 64, 2**62, None)
    assert reader.running() == [RunningHandler("job-a", 7, 123.5), RunningHandler("j" * 64, 2**62, math.inf)]
    writer.ended(1)
    assert reader.running() == [RunningHandler("j" * 64, 2**62, math.inf)]


def test_a_shorter_id_leaves_nothing_of_the_one_before(memory: int) -> None:
    board = SharedBoard(memory, 4)
    board.started(0, "a-rather-long-id", 1, None)
    board.ended(0)
    board.started(0, "b", 2, None)
    assert [handler.job_id for handler in board.running()] == ["b"]


def test_ticks_move(memory: int) -> None:
    writer, reader = SharedBoard(memory, 4), SharedBoard(memory, 4)
    before = reader.ticks
    writer.tick()
    assert reader.ticks != before


def test_a_start_that_was_cut_short_by_a_kill_shows_no_handler(memory: int) -> None:
    board = SharedBoard(memory, 4)
    board.started(0, "old", 1, 10.0)
    board.ended(0)
    # The process dies after it wrote the facts and before it wrote the generation, which comes last.
    board._words[(64 + 8) // 8] = 99
    assert board.running() == []


BUSY_WRITER = """
import os, sys
from wg_core._board import SharedBoard
board, number, parent = SharedBoard(int(sys.argv[1]), 4), 0, os.getppid()
while os.getppid() == parent:  # an end of its own, should the test die before it
    number += 1
    board.started(0, str(number), number, float(number))
    board.ended(0)
"""


def test_facts_of_two_handlers_are_never_mixed(memory: int) -> None:
    """One process starts handlers as fast as it can, another reads: the facts it sees belong together."""
    board = SharedBoard(memory, 4)
    seen: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", BUSY_WRITER, str(memory)], pass_fds=(memory,)) as writer:
        try:
            while len(seen) < 50:
                for handler in board.running():
                    assert handler.job_id == str(handler.lease_no)
                    assert handler.deadline == handler.lease_no
                    seen.add(handler.job_id)
        finally:
            writer.kill()


WRITER = """
import sys, threading
from wg_core._board import SharedBoard
board = SharedBoard(int(sys.argv[1]), 4)
board.tick()
board.started(2, "killed-job", 5, None)
print("written", flush=True)
threading.Event().wait()
"""


def test_the_board_of_a_killed_process_can_still_be_read(memory: int) -> None:
    board = SharedBoard(memory, 4)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(memory)], pass_fds=(memory,), stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    assert board.ticks == 1
    assert board.running() == [RunningHandler("killed-job", 5, math.inf)]


def test_a_slot_that_does_not_exist_is_refused(memory: int) -> None:
    with pytest.raises(IndexError):
        SharedBoard(memory, 4).started(4, "job", 1, None)
