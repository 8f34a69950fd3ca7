"""Dead letters on their way out: their states, their groups, and the replay of a group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from loom.errors import Invalid

DEFAULT_RATE = 10.0
MAX_RATE = 1_000.0
CANARY_QUIET_S = 10.0
"""How long a replayed message that belongs to no bead must not have died again."""
BATCH = 500
"""Letters that one step of a replay takes at most."""


class LetterState(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    """Nobody has dealt with it."""
    REPLAYED = "replayed"
    """Its bead, or its message, was sent on its way again."""
    DISCARDED = "discarded"
    """A person gave it up, or its bead."""


class ReplayState(StrEnum):
    """Where the replay of a group is."""

    CANARY = "canary"
    """One letter was replayed, and what becomes of it decides on the rest."""
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """The canary, or another message, died of the same cause again."""


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters of one cause. open: how many of count nobody has dealt with.

    example_id: the newest, whose reason and detail these are.
    """

    fingerprint: str
    project_id: str
    queue: str
    reason: str
    detail: str
    count: int
    open: int
    first_at: datetime
    last_at: datetime
    example_id: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The replay of a group. refused: letters that it left as they are, as `why` tells of the last.

    left: letters that it has still to consider.
    """

    id: str
    fingerprint: str
    state: ReplayState
    rate_per_s: float
    replayed: int
    refused: int
    left: int
    why: str
    actor: str
    reason: str
    created_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class GroupReplay:
    """The answer to the replay of a group. matching: its open letters before.

    replay: None for a dry run, and where nothing matches.
    """

    matching: int
    replay: Replay | None = None


def check_rate(rate_per_s: float) -> float:
    """The rate, or the default for 0; raises Invalid."""
    if not 0 <= rate_per_s <= MAX_RATE:
        raise Invalid(f"rate_per_s has to be above 0, to {MAX_RATE:g}", field="rate_per_s")
    return rate_per_s or DEFAULT_RATE


def allowance(rate_per_s: float, elapsed_s: float) -> int:
    """How many letters may be replayed after that many seconds without any."""
    return min(BATCH, int(rate_per_s * max(0.0, elapsed_s)))
