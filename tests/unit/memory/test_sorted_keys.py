from __future__ import annotations

import random

import pytest

from wg_core._sorted_keys import CHUNK_LENGTH, SortedKeys


def keys_of(pairs: list[tuple[int, int]]) -> SortedKeys[tuple[int, int]]:
    keys: SortedKeys[tuple[int, int]] = SortedKeys()
    for pair in pairs:
        keys.add(pair)
    return keys


def test_no_keys_have_no_first_and_no_last() -> None:
    keys = keys_of([])
    assert (len(keys), keys.first(), keys.last(), list(keys), list(keys.since((0,)))) == (0, None, None, [], [])


def test_keys_come_in_order_whatever_order_they_were_added_in() -> None:
    pairs = [(number * 7919 % 5_000, number) for number in range(4 * CHUNK_LENGTH)]
    keys = keys_of(pairs)
    assert list(keys) == sorted(pairs)
    assert (keys.first(), keys.last(), len(keys)) == (min(pairs), max(pairs), len(pairs))


@pytest.mark.parametrize("bound", [(-1,), (0,), (700, 3), (700,), (1_999, 5), (5_000,)])
def test_since_begins_at_the_bound_and_goes_on_to_the_end(bound: tuple[int, ...]) -> None:
    pairs = [(number, 5) for number in range(2_000)]
    assert list(keys_of(pairs).since(bound)) == [pair for pair in pairs if pair >= bound]


def test_a_random_walk_equals_a_sorted_list() -> None:
    dice = random.Random(1)
    keys, model = keys_of([]), []
    for number in range(12_000):
        if model and dice.random() < (0.3 if number < 6_000 else 0.7):
            keys.remove(model.pop(dice.randrange(len(model))))
        else:
            model.append((dice.randrange(1_000), number))
            keys.add(model[-1])
    assert list(keys) == sorted(model)
    while model:
        keys.remove(model.pop())
    assert (len(keys), list(keys), keys.first()) == (0, [], None)
