"""What the ledger holds of a bead when a decision is made, and what the decision changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from loom.domain.bead import NewBead
from loom.domain.evidence import Commit, Outcome
from loom.domain.lifecycle import Resolution, State

EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Running:
    """The attempt that runs. lease_left_s: seconds by the database's clock; below 0: it ended."""

    epoch: int
    agent_id: str
    request_id: str
    lease_left_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A bead as a decision sees it, under a lock.

    attempts: how many there were. forgiven: how many of them were before it was last unblocked,
    and no longer count against its budget. since: from when its waiting counts. gated: it waits for
    other beads. max_attempts: its own limit or its project's; 0: none. allow_no_tests: as its
    project's rules say.
    """

    id: str
    project_id: str
    state: State
    epoch: int
    attempts: int
    forgiven: int
    version: int
    priority: int
    correlation_id: str
    traceparent: str
    reason: str = ""
    running: Running | None = None
    since: datetime = EVER
    gated: bool = False
    max_attempts: int = 0
    allow_no_tests: bool = False
    generation: int = 0
    """How many beads filed one another up to it; known where its result asks for more."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says of its attempt; progress: not an end, only a sign of life."""

    message_id: str
    project_id: str
    bead_id: str
    epoch: int
    agent_id: str
    outcome: Outcome
    progress: bool = False
    correlation_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """New words and priority of a bead."""

    title: str
    description: str
    context: Mapping[str, Any]
    priority: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A bead as it is from now on; commits and edit are None where they stay as they were."""

    id: str
    state: State
    resolution: Resolution | None
    reason: str
    epoch: int
    attempts: int
    forgiven: int
    commits: tuple[Commit, ...] | None = None
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt begins, with its lease."""

    bead_id: str
    epoch: int
    agent_id: str
    request_id: str
    lease_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A running attempt ends: succeeded, failed, lost, superseded or cancelled."""

    bead_id: str
    epoch: int
    outcome: str
    evidence: Outcome


@dataclass(frozen=True, slots=True)
class Owed:
    """A task message is owed to the broker, after a delay in seconds and not before since.

    gated: not before other beads have succeeded.
    """

    bead_id: str
    project_id: str
    epoch: int
    attempt: int
    priority: int
    correlation_id: str
    traceparent: str
    delay_s: float = 0.0
    since: datetime = EVER
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the journal, which is also owed to the broker."""

    type: str
    project_id: str
    bead_id: str
    epoch: int
    data: Mapping[str, Any]
    correlation_id: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class FiledBead:
    """A bead that another's attempt asked for; one that is there already is not filed again."""

    bead: NewBead
    project_id: str
    correlation_id: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """All that one decision, or one batch of them, writes.

    withdrawn: beads whose owed task messages are owed no longer; what is owed beside it is owed
    afterwards. recalled: beads whose message is on the broker no more.
    """

    moved: tuple[Moved, ...] = ()
    started: tuple[Started, ...] = ()
    ended: tuple[Ended, ...] = ()
    owed: tuple[Owed, ...] = ()
    withdrawn: tuple[str, ...] = ()
    events: tuple[Event, ...] = field(default=())
    recalled: tuple[str, ...] = ()
    filed: tuple[FiledBead, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        """Both, in their order; of two moves of one bead the later one holds."""
        moved = {move.id: move for move in self.moved}
        for move in other.moved:
            moved[move.id] = move
        return Changes(
            moved=tuple(moved.values()),
            started=self.started + other.started,
            ended=self.ended + other.ended,
            owed=self.owed + other.owed,
            withdrawn=self.withdrawn + other.withdrawn,
            events=self.events + other.events,
            recalled=self.recalled + other.recalled,
            filed=self.filed + other.filed,
        )

    def __bool__(self) -> bool:
        return any(getattr(self, part.name) for part in fields(self))
