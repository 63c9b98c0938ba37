"""The reference says what the code says."""

from __future__ import annotations

import re
from dataclasses import fields

import msgspec

from tests.docs.markdown import ROOT
from wg_core import errors
from wg_core.cli._group import COMMANDS
from wg_core.envelope import DEFAULT_RETRY_DELAY_SECONDS, DEFAULT_TIMEOUT_SECONDS, Envelope, decode_envelope
from wg_core.options import JobOptions
from wg_core.outgoing import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE
from wg_core.settings import WorkerSettings

PAGE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_worker_setting_is_listed_with_its_default() -> None:
    found = {row[0].strip("`"): row[1:] for row in rows("Settings of a worker")}
    words = {"every queue": "None", "off": "False"}
    for setting in fields(WorkerSettings):
        flag, variable, default = found.pop(setting.name)
        assert flag == f"`--{setting.name.replace('_', '-')}`"
        assert variable == f"`WG_WORKER_{setting.name.upper()}`"
        assert words.get(default, default) == str(setting.default)
    assert not found


def test_every_job_option_is_listed() -> None:
    written = {name for row in rows("Job options") for name in re.findall(r"`(\w+)`", row[0])}
    assert written == set(JobOptions.__struct_fields__)
    defaults = {row[0].strip("`"): row[1] for row in rows("Job options")}
    assert defaults["queue"] == f'`"{DEFAULT_QUEUE}"`'
    assert int(defaults["max_retries"]) == DEFAULT_MAX_RETRIES
    assert float(defaults["timeout"]) == DEFAULT_TIMEOUT_SECONDS
    assert float(defaults["retry_delay"]) == DEFAULT_RETRY_DELAY_SECONDS


def test_every_error_is_listed_with_its_bases() -> None:
    written = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in rows("Errors")}
    known = {
        name: [base.__name__ for base in found.__bases__]
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.WgError)
    }
    assert written == known


def test_every_command_is_listed() -> None:
    written = {name for row in rows("Command line") for name in re.findall(r"`wg (\w+)", row[0])}
    assert written == set(COMMANDS)


def test_the_envelope_is_the_one_that_is_read() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section("The envelope"), re.DOTALL)
    assert decode_envelope(example.encode()).timeout == 60.0
    assert {row[0].strip("`") for row in rows("The envelope")} == {
        field.name for field in msgspec.structs.fields(Envelope)
    }
