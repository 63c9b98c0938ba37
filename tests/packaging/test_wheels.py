"""What is in the wheels, and what their metadata promises."""

from __future__ import annotations

import re
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.environments import DISTRIBUTIONS, ROOT

pytestmark = pytest.mark.timeout(600)  # whichever comes first builds them

Wheels = dict[str, Path]


def metadata(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = Parser().parsestr(archive.read(name).decode())
    return {key: message.get_all(key, []) for key in message}


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def project(name: str) -> dict[str, object]:
    return tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_carries_every_source_file_and_nothing_else(wheels: Wheels, name: str) -> None:
    source = ROOT / name / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {file for file in files(wheels[name]) if ".dist-info/" not in file} == expected
    assert f"{name}/py.typed" in expected


def test_the_redis_wheel_carries_its_scripts(wheels: Wheels) -> None:
    assert any(file.endswith(".lua") for file in files(wheels["wg_redis"]))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_carries_licence_and_readme(wheels: Wheels, name: str) -> None:
    facts = metadata(wheels[name])
    assert facts["License-Expression"] == ["MIT"]
    assert any(file.endswith("/licenses/LICENSE") for file in files(wheels[name]))
    assert len((ROOT / name / "README.md").read_text()) > 300
    assert facts["Requires-Python"] == [">=3.11"]


def test_all_distributions_have_one_version_number() -> None:
    versions = {name: project(name)["version"] for name in DISTRIBUTIONS}
    assert len(set(versions.values())) == 1, versions
    assert f"[{versions['wg_core']}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "wg_core"])
def test_a_backend_requires_the_core_of_its_own_minor_version(wheels: Wheels, name: str) -> None:
    minor = ".".join(metadata(wheels[name])["Version"][0].split(".")[:2])
    (core,) = (line for line in metadata(wheels[name])["Requires-Dist"] if line.startswith("wg-core"))
    assert re.fullmatch(rf"wg-core(\[\w+\])?~={re.escape(minor)}\.0", core)


def test_the_extras_of_the_core_name_the_backends(wheels: Wheels) -> None:
    facts = metadata(wheels["wg_core"])
    stores = {"redis", "postgres", "mysql", "sqlite"}
    assert stores | {"full", "testing", "servers", "sql", "rich"} == set(facts["Provides-Extra"])
    for store in stores:
        wanted = [line for line in facts["Requires-Dist"] if line.startswith(f"wg-{store}~=")]
        assert {line.rpartition("extra == ")[2].strip("'\"") for line in wanted} == {store, "full"}


def test_the_core_alone_needs_neither_driver_nor_sqlalchemy(wheels: Wheels) -> None:
    always = [line for line in metadata(wheels["wg_core"])["Requires-Dist"] if "extra ==" not in line]
    assert sorted(re.split(r"[^\w-]", line)[0] for line in always) == ["click", "msgspec"]
