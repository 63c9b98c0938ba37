"""The configured store, and the client that uses it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from wg_core import BackendUnavailableError, Client, ConfigError, HandlerRegistry, JobState, config, configure, job


@job(registry=HandlerRegistry())
def tick(number: int = 0) -> None: ...


def test_a_handler_may_be_imported_before_anything_is_configured() -> None:
    configure(url="memory:configured", namespace="app")
    handle = tick.enqueue(1)
    assert handle.state == JobState.READY
    with Client.connect("memory:configured", "app") as same_store:
        assert same_store.get(handle.id) is not None
    with Client.connect("memory:configured", "other") as other_store:
        assert other_store.get(handle.id) is None


def test_without_any_configuration_the_error_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"no store is configured: call wg_core\.configure\(url=.*or set WG_URL"):
        tick.enqueue()


def test_the_environment_is_read_when_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WG_URL", "memory:environment")
    monkeypatch.setenv("WG_NAMESPACE", "env")
    assert (config.resolve_url(), config.resolve_namespace()) == ("memory:environment", "env")
    handle = tick.enqueue()
    with Client.connect("memory:environment", "env") as client:
        assert client.get(handle.id) is not None


def test_an_argument_wins_over_the_configuration_and_that_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WG_URL", "memory:environment")
    monkeypatch.setenv("WG_NAMESPACE", "env")
    configure(url="memory:configured", namespace="conf")
    assert (config.resolve_url(), config.resolve_namespace()) == ("memory:configured", "conf")
    assert (config.resolve_url("memory:x"), config.resolve_namespace("arg")) == ("memory:x", "arg")


def test_the_namespace_is_wg_unless_said_otherwise() -> None:
    assert config.resolve_namespace() == "wg"


def test_a_namespace_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WG_NAMESPACE", "My App")
    with pytest.raises(ConfigError, match="a namespace is 1 to 30 characters"):
        config.resolve_namespace()


def test_configuring_anew_replaces_everything_and_closes_the_old_client() -> None:
    configure(url="memory:first", namespace="one")
    first = config.default_client()
    configure(url="memory:second")
    second = config.default_client()
    assert second is not first
    assert config.resolve_namespace() == "wg"
    with pytest.raises(BackendUnavailableError, match="closed"):
        first.enqueue_named("x")


def test_one_client_is_shared_by_all_threads() -> None:
    configure(url="memory:shared")
    start = threading.Barrier(8)

    def ask() -> Client:
        start.wait(timeout=10)
        return config.default_client()

    with ThreadPoolExecutor(8) as pool:
        clients = {future.result() for future in [pool.submit(ask) for _ in range(8)]}
    assert len(clients) == 1


@pytest.mark.parametrize(
    "settings", [{"namespace": "No"}, {"url": 3}, {"enqueue_timeout": -1}, {"enqueue_timeout": float("nan")}]
)
def test_wrong_settings_are_refused_when_they_are_given(settings: dict[str, Any]) -> None:
    configure(url="memory:kept")
    with pytest.raises(ConfigError):
        configure(**settings)
    assert config.resolve_url() == "memory:kept"


def test_options_of_the_backend_reach_it() -> None:
    configure(url="memory:x", shelf=3)
    with pytest.raises(ConfigError, match="shelf"):
        tick.enqueue()


def test_options_configured_for_one_store_are_not_given_to_another() -> None:
    configure(url="memory:x", shelf=3)
    Client.connect("memory:y").close()
    with pytest.raises(ConfigError, match="shelf"):
        Client.connect()


def test_another_client_may_be_the_default_for_a_while(client: Client) -> None:
    configure(url="memory:usual")
    usual = config.default_client()
    with config.use(client) as used:
        assert config.default_client() is used is client
        handle = tick.enqueue()
        assert client.get(handle.id) is not None
        with config.use(usual):
            assert config.default_client() is usual
        assert config.default_client() is client
    assert config.default_client() is usual


def test_clients_in_use_may_end_in_any_order(client: Client) -> None:
    first, second = config.use(client), config.use(Client.connect("memory:second"))
    first.__enter__()
    with second as remaining:
        first.__exit__(None, None, None)
        assert config.default_client() is remaining
    remaining.close()
