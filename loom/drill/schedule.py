"""The schedule: which fault comes when. A decision on a seed, so that a drill can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST_S, LONGEST_S = 2.0, 10.0
"""Below and above the time limits of a scratch stack's connections and leases (6 s)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One fault. number: from 1. hold_s: how long it lasts before it is healed.

    calm_s: how long the load runs undisturbed before it.
    """

    number: int
    fault: str
    calm_s: float
    hold_s: float


def plan(seed: int, faults: int, classes: Sequence[str]) -> tuple[Turn, ...]:
    """So many turns over these classes: each comes as often as any other, give or take one."""
    pick = random.Random(f"schedule {seed}")  # noqa: S311 - has to be repeatable
    names: list[str] = []
    while len(names) < faults and classes:
        names += pick.sample(sorted(classes), len(classes))
    return tuple(
        Turn(
            number,
            name,
            round(pick.uniform(0.5, 2.0), 2),
            round(pick.uniform(SHORTEST_S, LONGEST_S), 2),
        )
        for number, name in enumerate(names[:faults], 1)
    )
