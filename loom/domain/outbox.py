"""What the ledger owes the broker, and what a claim answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from loom.domain.bead import Attempt, Bead
from loom.domain.project import Project


class OutboxKind(StrEnum):
    """Which exchange an outbox row is for."""

    TASK = "task"
    EVENT = "event"
    REPLAY = "replay"
    """A dead letter, for the queue it died in."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message the ledger owes.

    payload: of a task, its data; of an event, the event's; of a replay, `queue`, `headers` and
    `content_type` of the dead letter, whose body is body.
    """

    id: int
    kind: OutboxKind
    type: str
    message_id: str
    project_id: str
    bead_id: str
    epoch: int
    attempt: int
    correlation_id: str
    traceparent: str
    created_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""


class ClaimVerdict(StrEnum):
    """What the ledger says to a claim; all but granted mean: acknowledge and do nothing."""

    GRANTED = "granted"
    STALE = "stale"
    HELD = "held"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    """The bead may not start now: the message goes, and the ledger owes it again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim; all but the verdict is set only when it is granted.

    lease_s: seconds until the lease ends unless it is renewed. previous: the bead's attempt before
    this one as Attempt.retold has it, if there was one.
    """

    verdict: ClaimVerdict
    epoch: int = 0
    attempt: int = 0
    lease_s: float = 0.0
    bead: Bead | None = None
    project: Project | None = None
    previous: Attempt | None = None


class ResultVerdict(StrEnum):
    """What became of a result at the ledger."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNKNOWN = "unknown"
    UNPROVEN = "unproven"
