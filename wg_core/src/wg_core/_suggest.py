"""'Did you mean …?' for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the choice nearest to `word`, or an empty string when none is near."""
    import difflib  # noqa: PLC0415 - 5 ms of import that only a mistake needs

    nearest = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f", did you mean {nearest[0]!r}?" if nearest else ""
