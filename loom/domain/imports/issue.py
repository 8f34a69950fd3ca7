"""An issue of another tracker, as Loom reads it, and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from loom.domain.lifecycle import Resolution, State

MAX_RECORD_BYTES = 512 * 1024
MAX_EXTERNAL_ID = 200


class Source(StrEnum):
    """Where issues come from, and in which form they are given back."""

    BD = "bd"
    GITHUB = "github"
    CSV = "csv"
    LOOM = "loom"


class Where(StrEnum):
    """What the source's state comes to here."""

    READY = "ready"
    """Nobody has begun it, and nothing says that it should wait."""
    HELD = "held"
    """Somebody has begun it there, or put it off, or it is no work for an agent."""
    DONE = "done"
    """It ended there."""
    GONE = "gone"
    """It was deleted there, or is no issue at all."""


@dataclass(frozen=True, slots=True)
class Said:
    """A comment in the source."""

    author: str
    text: str
    at: datetime

    @property
    def mark(self) -> str:
        """What it is known by again: who said what and when."""
        moment = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        words = "\0".join((self.author, moment, self.text))
        return hashlib.sha256(words.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Details:
    """What a bead has no field for. Moments are as the source writes them."""

    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    kind: str = ""
    author: str = ""
    created_at: str = ""
    updated_at: str = ""
    closed_at: str = ""
    close_reason: str = ""
    estimated_minutes: int | None = None
    milestone: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue. record: as the source has it, without what says nothing.

    status: in the source's words. priority: Loom's. blocked_by, parent: the source's ids.
    begun_at, ended_at: when it was made and closed there. others: what Loom cannot do with it,
    in words.
    """

    source: Source
    id: str
    record: Mapping[str, Any]
    title: str
    where: Where
    status: str
    priority: int = 2
    description: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    blocked_by: tuple[str, ...] = ()
    parent: str = ""
    not_before: datetime | None = None
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    comments: tuple[Said, ...] = ()
    details: Details = Details()
    others: tuple[str, ...] = ()

    @property
    def refs(self) -> tuple[str, ...]:
        """The ids that it names."""
        return (*self.blocked_by, *((self.parent,) if self.parent else ()))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bead came from. pending: ids that its record names and that it is not linked with."""

    bead_id: str
    project_id: str
    source: Source
    external_id: str
    record: Mapping[str, Any]
    pending: tuple[str, ...] = ()
    imported_at: datetime | None = None


def reason(issue: Issue) -> str:
    """Why the bead of an issue waits, or how it ended."""
    origin = f"imported from {issue.source.value}"
    if issue.where is Where.DONE:
        why = f": {issue.details.close_reason}" if issue.details.close_reason else ""
        return f"{origin}, where it was closed{why}"[:2_000]
    if issue.where is Where.READY:
        return f"{origin}, where it is {issue.status}: held until somebody says that it may run"
    who = ", ".join(issue.details.assignees)
    if issue.status in {"in_progress", "in progress"}:
        return f"{origin}, where {who or 'somebody'} has it in progress: nobody works at it here"
    kind = f" ({issue.details.kind})" if issue.details.kind else ""
    return f"{origin}, where it is {issue.status}{kind}: held until somebody says that it may run"


def held_reason(source: Source) -> str:
    """How the reason begins of every bead that an import holds."""
    return f"imported from {source.value}, where "


def settled(where: Where, *, run: bool) -> tuple[State, Resolution | None]:
    """How the bead of an issue begins. run: what is ready may run at once."""
    if where is Where.DONE:
        return State.CLOSED, Resolution.RECORDED
    if where is Where.READY and run:
        return State.OPEN, None
    return State.BLOCKED, None
