"""The messages between a supervisor and its worker processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from wg_core._channel import MOST_UNSENT_BYTES, Bye, Channel, ImportFailed, News, Ready, ReplaceMe, Setup, Stop
from wg_core.settings import WorkerSettings


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    first, second = (Channel(end) for end in socket.socketpair())
    yield first, second
    first.close()
    second.close()


def test_every_message_arrives_as_it_was_sent(ends: tuple[Channel, Channel]) -> None:
    messages = [
        Setup(
            url="redis://:p%40ss@host/0",
            namespace="shop",
            options={"max_connections": 3},
            settings=WorkerSettings(threads=2, queues=("mail",), lease=9.5),
            modules=("shop.jobs",),
            worker="w",
            log_level=20,
        ),
        News(lease_lost=True, cancels=(("job", 3),), paused=frozenset({"máil\n"})),
        Stop(now=True),
        Ready(),
        ImportFailed(line="cannot import 'shop'\nat all"),
        ReplaceMe(reason="stuck"),
        Bye(idle=True, exit_code=0),
    ]
    for message in messages:
        ends[0].send(message)
    assert ends[1].receive() == messages


def test_nothing_has_come_is_no_end(ends: tuple[Channel, Channel]) -> None:
    assert ends[1].receive() == []
    assert not ends[1].is_closed


def test_the_last_words_are_heard_before_the_end(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(Bye(idle=True, exit_code=0))
    ends[0].close()
    assert ends[1].receive() == [Bye(idle=True, exit_code=0)]
    assert ends[1].is_closed


def test_sending_to_one_who_is_gone_is_no_error(ends: tuple[Channel, Channel]) -> None:
    ends[1].close()
    ends[0].send(Stop())
    ends[0].flush()


def test_one_who_does_not_read_blocks_nobody_and_misses_no_stop(ends: tuple[Channel, Channel]) -> None:
    """A handler that holds the GIL for an hour: the news pile up to a limit, what matters is kept."""
    news = News(cancels=tuple((f"job-{number}", 1) for number in range(1_000)))
    sent = 4 * MOST_UNSENT_BYTES // 15_000
    for _ in range(sent):
        ends[0].send(news)
    ends[0].send(Stop())
    received = []
    while Stop() not in received:
        received += ends[1].receive()
        ends[0].flush()
    assert 0 < received.count(news) < sent
