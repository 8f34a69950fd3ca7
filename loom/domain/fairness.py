"""Weighted fair shares: which project's bead leaves the ledger next.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with every bead of cost one: each
bead gets a start tag and a finish tag 1 / weight later, and the smallest start tag goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What a project has had. started, finished: the tags of its last bead."""

    weight: int
    started: float = 0.0
    finished: float = 0.0


def clock(shares: Mapping[str, Share]) -> float:
    """The virtual time: the latest start tag of all. Who was idle begins there, without credit."""
    return max((share.started for share in shares.values()), default=0.0)


def start_tag(share: Share, now: float, place: int) -> float:
    """The start tag of a project's bead at that place, from 0, among those that may go."""
    return max(share.finished, now) + place / share.weight


def turns(
    shares: Mapping[str, Share], ready: Mapping[str, int], limit: int
) -> tuple[tuple[str, ...], dict[str, Share]]:
    """Whose bead goes next, up to limit times, and what each project has had then.

    ready: how many beads of each project may go.
    """
    now = clock(shares)
    tags = sorted(
        (start_tag(shares[project], now, place), project)
        for project, count in ready.items()
        for place in range(count)
    )[:limit]
    after = dict(shares)
    for tag, project in tags:
        weight = shares[project].weight
        after[project] = Share(weight, tag, tag + 1 / weight)
    return tuple(project for _, project in tags), after
