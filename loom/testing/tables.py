"""What FakeLedger holds: the tables of the real ledger, on memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loom.database.changes import Event
from loom.domain.bead import Attempt, Bead
from loom.domain.outbox import OutboxRow
from loom.domain.project import Project

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Kept:
    """A bead, and what the ledger knows of its trip."""

    bead: Bead
    traceparent: str
    attempts: int = 0
    forgiven: int = 0
    dispatched_epoch: int = 0
    dispatched_at: datetime = NEVER


@dataclass(slots=True)
class Due:
    """A row of the outbox. rank: its place among tasks."""

    row: OutboxRow
    available_at: datetime
    rank: datetime = NEVER
    owner: str = ""
    leased_until: datetime = NEVER
    tries: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Try:
    """An attempt."""

    attempt: Attempt
    request_id: str


@dataclass(slots=True)
class Tables:
    """All that there is."""

    projects: dict[str, Project] = field(default_factory=dict)
    beads: dict[str, Kept] = field(default_factory=dict)
    tries: dict[str, list[Try]] = field(default_factory=dict)
    outbox: dict[int, Due] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    answers: dict[str, tuple[str, Any]] = field(default_factory=dict)
