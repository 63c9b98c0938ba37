"""How long to wait before trying again: pure functions of how often it failed, with the chance passed in."""

from __future__ import annotations

import random

RETRY_CAP_SECONDS = 3_600.0
RETRY_SPREAD = 0.10

BOUNCE_FIRST_SECONDS = 2.0
BOUNCE_CAP_SECONDS = 60.0
BOUNCE_SPREAD = 0.20
MOST_BOUNCES = 25
"""A job that no worker could run this often goes to the dead letters: about a quarter of an hour of a deploy."""

PAUSE_FIRST_SECONDS = 0.1
PAUSE_CAP_SECONDS = 2.0
PAUSE_SPREAD = 0.5

_MOST_DOUBLINGS = 64
"""More could overflow a float, and every base worth the name has met its cap long before."""


def draw() -> float:
    """Return a number from -1 to 1 by chance: what the functions below take as `chance`."""
    return random.uniform(-1.0, 1.0)  # noqa: S311 - spreads load, guards nothing


def retry_delay(base_seconds: float, attempt: int, chance: float = 0.0) -> float:
    """Return the seconds until a failed attempt is repeated: min(1 h, base · 2^(attempt-1)) ± 10 %."""
    doublings = min(max(attempt - 1, 0), _MOST_DOUBLINGS)
    return min(RETRY_CAP_SECONDS, base_seconds * 2.0**doublings) * (1.0 + RETRY_SPREAD * chance)


def bounce_delay(bounces: int, chance: float = 0.0) -> float:
    """Return the seconds for which a job that this worker cannot run is left to others: 2 s growing to 60 s, ± 20 %."""
    growth = 1.25 ** min(bounces, _MOST_DOUBLINGS)
    return min(BOUNCE_CAP_SECONDS, BOUNCE_FIRST_SECONDS * growth) * (1.0 + BOUNCE_SPREAD * chance)


def pause_after(failures: int, chance: float = 0.0) -> float:
    """Return the seconds a duty waits after its n-th failure in a row: 0.1 s growing to 2 s, ± 50 %.

    The spread is wide so that many workers do not come back to a restarted store in the same moment.
    """
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(PAUSE_CAP_SECONDS, PAUSE_FIRST_SECONDS * 2.0**doublings) * (1.0 + PAUSE_SPREAD * chance)
