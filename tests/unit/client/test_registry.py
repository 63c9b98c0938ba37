"""From URLs to backends, with real distributions on the path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_core import ConfigError, UnknownBackendError
from wg_core.memory import MemoryBackend
from wg_core.registry import installed_backends, open_backend, redact

PLUGIN = """
from wg_core.memory import MemoryBackend

class ShelfBackend(MemoryBackend):
    pass

class FutureBackend(MemoryBackend):
    api_version = 99

def not_a_class(): ...
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution: its metadata, its entry points, and one module."""

    def install(distribution: str, entry_points: dict[str, str], *, code: str = PLUGIN, version: str = "1.0") -> Path:
        site = tmp_path / f"{distribution}-{version}-site"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{scheme} = {target}\n" for scheme, target in entry_points.items()]
        (info / "entry_points.txt").write_text("[wg.backends]\n" + "".join(lines))
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    return install


@pytest.fixture
def only_core(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves nothing installed but what wg-core brings itself; the package is imported already."""
    site = install("wg-core", {"memory": "wg_core.memory:MemoryBackend"}, code="")
    monkeypatch.setattr(sys, "path", [str(site)])


def test_a_scheme_opens_the_backend_that_registered_it() -> None:
    with open_backend("memory:registry", namespace="app") as backend:
        assert isinstance(backend, MemoryBackend)


def test_a_third_party_backend_is_found_by_its_scheme(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"})
    with open_backend("shelf:x") as backend:
        assert type(backend).__name__ == "ShelfBackend"


def test_the_scheme_is_looked_up_in_lower_case(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"})
    with open_backend("SHELF:x") as backend:
        assert type(backend).__name__ == "ShelfBackend"


def test_a_scheme_with_a_driver_is_looked_up_whole_and_then_without_it(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend", "shelf+oak": "wg_core.memory:MemoryBackend"})
    with open_backend("shelf+oak:x") as whole, open_backend("shelf+pine:x") as base:
        assert type(whole) is MemoryBackend
        assert type(base).__name__ == "ShelfBackend"


def test_only_the_named_backend_is_imported(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"})
    installed_backends()
    open_backend("memory:").close()
    assert "wg_shelf" not in sys.modules


def test_what_is_installed_is_listed_with_its_distribution_and_version(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"}, version="2.3")
    assert ("shelf", "wg-shelf", "2.3") in installed_backends()
    assert installed_backends() == sorted(installed_backends())


@pytest.mark.usefixtures("only_core")
def test_a_scheme_of_ours_that_is_not_installed_names_the_pip_line() -> None:
    with pytest.raises(UnknownBackendError) as caught:
        open_backend("mysql://root:secret@localhost/app")
    assert str(caught.value) == """no backend for 'mysql://': pip install "wg-core[mysql]\""""
    assert caught.value.scheme == "mysql"
    with pytest.raises(UnknownBackendError, match=r"wg-core\[postgres\]"):
        open_backend("postgresql+psycopg://localhost")


@pytest.mark.usefixtures("only_core")
def test_a_mistyped_scheme_names_the_nearest_one_and_what_is_installed() -> None:
    with pytest.raises(UnknownBackendError) as caught:
        open_backend("postgre://localhost")
    assert str(caught.value).startswith("unknown backend 'postgre', did you mean 'postgres'? installed: memory")


@pytest.mark.usefixtures("only_core")
def test_a_scheme_like_no_other_lists_what_is_installed() -> None:
    with pytest.raises(UnknownBackendError, match="unknown backend 'qqqq'; installed: memory"):
        open_backend("qqqq://localhost")


@pytest.mark.parametrize("url", ["", "localhost", "/var/jobs.db", "://x", "redis"])
def test_a_url_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="a store is named by a URL such as"):
        open_backend(url)


def test_two_distributions_that_claim_one_scheme_are_both_named(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"})
    install("other-shelf", {"shelf": "other_shelf:ShelfBackend"}, version="0.2")
    with pytest.raises(ConfigError, match=r"claimed by other-shelf 0\.2 and wg-shelf 1\.0: uninstall all but one"):
        open_backend("shelf:x")
    open_backend("memory:").close()


def test_one_distribution_listed_twice_is_no_clash(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"}, version="1.0")
    install("Wg.Shelf", {"shelf": "wg_shelf:ShelfBackend"}, version="1.1")
    open_backend("shelf:x").close()


def test_a_plugin_that_cannot_be_imported_is_named_and_breaks_no_other(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"}, code="import driver_that_is_not_there")
    with pytest.raises(ConfigError, match=r"'shelf' of wg-shelf 1\.0 cannot be imported: ModuleNotFoundError"):
        open_backend("shelf:x")
    open_backend("memory:").close()


def test_a_plugin_whose_name_is_missing_in_its_module_is_named(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:Missing"})
    with pytest.raises(ConfigError, match=r"'shelf' of wg-shelf 1\.0 cannot be imported: AttributeError"):
        open_backend("shelf:x")


def test_a_plugin_that_is_no_backend_is_refused(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:not_a_class"})
    with pytest.raises(ConfigError, match=r"of wg-shelf 1\.0 must be a subclass of wg_core\.backend\.Backend"):
        open_backend("shelf:x")


def test_a_backend_for_another_version_of_the_contract_is_refused(install: Install) -> None:
    install("wg-shelf", {"shelf": "wg_shelf:FutureBackend"})
    with pytest.raises(ConfigError, match="written for version 99 of the contract, this wg-core has version 1"):
        open_backend("shelf:x")


def test_metadata_without_name_and_version_breaks_nothing(install: Install) -> None:
    site = install("wg-shelf", {"shelf": "wg_shelf:ShelfBackend"})
    next(site.glob("*.dist-info/METADATA")).write_text("Metadata-Version: 2.1\n")
    open_backend("shelf:x").close()
    open_backend("memory:").close()


def test_a_wrong_namespace_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match="a namespace is 1 to 30 characters"):
        open_backend("mysql://localhost", namespace="My-App")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:geheim@localhost", "redis://:***@localhost"),
        ("postgres://ada:geheim@db/app?sslmode=require", "postgres://ada:***@db/app?sslmode=require"),
        ("postgres://ada@db/app", "postgres://ada@db/app"),
        ("redis+unix://:geheim@/run/redis.sock", "redis+unix://:***@/run/redis.sock"),
        ("redis://:ge@he/im?geheim@localhost", "redis://:***@localhost"),
        ("postgres://db/app?user=ada&password=geheim&x=1", "postgres://db/app?user=ada&password=***&x=1"),
        ("postgres://db/app?SSLPassword=geheim", "postgres://db/app?SSLPassword=***"),
        ("postgres://db/app?listen_url=postgres%3A%2F%2Fada%3Ageheim%40db", "postgres://db/app?listen_url=***"),
        ("postgres://db/app?listen_url=postgres://ada:geheim@db", "postgres://db/app?listen_url=***"),
        ("postgres:/ada:geheim@db/app", "postgres:/ada:***@db/app"),
        ("mysql:ada:geheim@db/app", "mysql:ada:***@db/app"),
        ("x://h?auth_token=geheim&client_secret=geheim#f", "x://h?auth_token=***&client_secret=***"),
        ("sqlite:jobs.db", "sqlite:jobs.db"),
        ("sqlite::memory:", "sqlite::memory:"),
        ("sqlite:///srv/jobs@home.db", "sqlite:///srv/jobs@home.db"),
    ],
)
def test_a_printed_url_hides_every_password(url: str, shown: str) -> None:
    assert redact(url) == shown
    assert "geheim" not in redact(url)


def test_a_malformed_url_is_not_printed_with_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend("//ada:geheim@localhost")
    assert "geheim" not in str(caught.value)
