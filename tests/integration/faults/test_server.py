"""The store itself dies, or stops answering, under load: nothing is lost and the workers go on without a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from trees import Log, Tree, sized, wait_for
from under_load import load
from wg_core.testing.servers import PrivateServer


@pytest.mark.timeout(400)
def test_the_server_is_killed_and_restarted_under_load(
    server: PrivateServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with load(server.url, log, start_tree) as running:
        for _ in range(sized(4, full=10)):
            before = running.noticed()
            server.kill()
            wait_for(lambda before=before: running.noticed() > before, "a worker that noticed")
            server.start()
            running.await_progress()


@pytest.mark.timeout(400)
def test_the_server_stops_answering_for_ten_seconds_under_load(
    server: PrivateServer, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with load(server.url, log, start_tree) as running:
        server.pause()
        try:
            threading.Event().wait(10)  # the length of the pause is the fault itself
        finally:
            server.resume()
        running.await_progress()
