"""The list of mutants fits the tree: a guard that moved is noticed by the quick tests, not by the long session."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.__main__ import Mutant, list_of_mutants

MUTANTS = list_of_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_guard_of_a_mutant_stands_in_the_tree_once(mutant: Mutant) -> None:
    assert mutant.problem() is None
    assert mutant.text != mutant.replacement


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []


def test_there_are_mutants_of_every_part() -> None:
    parts = {mutant.name.partition("-")[0] for mutant in MUTANTS}
    assert parts >= {"memory", "redis", "sql", "sqlite", "worker", "supervisor", "client"}
