"""Beads, and why they wait."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Object, Path
from loom.control.answers.evidence import CommitOut
from loom.domain.bulk import Verdict
from loom.domain.lifecycle import Resolution, State


class BeadLinks(Answer):
    """Where the rest of a bead is."""

    self: Path
    attempts: Path
    why: Path


class BeadOut(Answer):
    """A bead as the ledger has it."""

    id: str
    project_id: str
    title: str
    description: str
    context: Object
    priority: Count
    state: State
    resolution: Resolution | None
    reason: str
    epoch: Count
    version: Count
    correlation_id: str
    commits: list[CommitOut]
    created_at: Moment
    updated_at: Moment
    closed_at: Moment | None
    not_before: Moment | None
    blocked_by: list[str]
    parent: str | None
    max_attempts: Count
    assignee: str | None
    links: BeadLinks


class BeadsOut(Answer):
    """Beads as they were filed, in the order of the request."""

    beads: list[BeadOut]


class BeadPageOut(Answer):
    """Some beads."""

    beads: list[BeadOut]
    next_cursor: NextCursor


class ReasonOut(Answer):
    """One thing that keeps a bead from running, and what would take it away."""

    code: str
    sentence: str
    remedy: str


class WhyLinks(Answer):
    """Where the bead is."""

    bead: Path


class WhyOut(Answer):
    """Why a bead is not running: what is to be dealt with first, then all that holds it up."""

    bead_id: str
    state: State
    code: str
    sentence: str
    remedy: str
    reasons: list[ReasonOut]
    position: int | None
    effective_priority: float
    links: WhyLinks


class BulkOutcomeOut(Answer):
    """What became of one bead; code and why: of a refusal, as alone it would have been answered."""

    id: str
    verdict: Verdict
    code: str | None
    why: str | None


class BulkOut(Answer):
    """What became of each, in the order of the request. more: the filter shows further ones."""

    outcomes: list[BulkOutcomeOut]
    done: Count
    unchanged: Count
    refused: Count
    missing: Count
    more: bool
