"""The journal: whole lines from many processes, read as they come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wg_core.demo import journal
from wg_core.demo.journal import EventKind, JournalReader
from wg_core.demo.sources import MAX_FILE_BYTES, find_sources, short_name

WRITER = """
import sys
from wg_core.demo import journal
for number in range(500):
    journal.append(sys.argv[1], journal.EventKind.STARTED, file=f"{sys.argv[2]}-{number}", job="x" * 500)
"""


def test_a_journal_that_nobody_wrote_is_empty(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "journal").read_new() == []


def test_events_come_back_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    reader = JournalReader(path)
    journal.append(str(path), EventKind.STARTED, file="größe.py", job="1", lease_no=3)
    journal.append(str(path), EventKind.KILL, pid=42)
    first, second = reader.read_new()
    assert (first.kind, first.file, first.job, first.lease_no) == (EventKind.STARTED, "größe.py", "1", 3)
    assert (second.kind, second.pid) == (EventKind.KILL, 42)
    assert reader.read_new() == []


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    reader = JournalReader(path)
    journal.append(str(path), EventKind.STARTED, file="a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    assert len(reader.read_new()) == 1
    path.write_bytes(whole + whole)
    assert len(reader.read_new()) == 1


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = [event.file for event in JournalReader(path).read_new()]
    assert sorted(files) == sorted(f"{name}-{number}" for name in "abc" for number in range(500))


def test_the_sources_are_those_of_the_standard_library_and_bounded() -> None:
    found = find_sources()
    assert any(path.endswith("/json/decoder.py") for path in found)
    assert all("site-packages" not in path and Path(path).stat().st_size <= MAX_FILE_BYTES for path in found)
    assert find_sources(10) == found[:10]


def test_a_source_is_named_by_its_path_in_the_library() -> None:
    [path] = [path for path in find_sources() if path.endswith("/json/decoder.py")]
    assert short_name(path) == "json/decoder.py"
    assert short_name("/elsewhere/a.py") == "/elsewhere/a.py"
