"""How the whole of Loom is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loom.control.answers.answer import Answer, Count, Moment
from loom.control.answers.reconciliation import DepthOut


class ServiceOut(Answer):
    """One of Loom's parts. late: it does not keep up with what it is given."""

    name: str
    state: Literal["ready", "late", "away", "unknown"]
    why: str


class InHandOut(Answer):
    """Beads that have not ended."""

    open: Count
    in_progress: Count
    blocked: Count


class OutboxOut(Answer):
    """What the ledger owes the broker. held: tasks that wait for a time or for other beads."""

    tasks: Count
    held: Count
    oldest_task_s: float
    events: Count
    oldest_event_s: float
    publish_error: str


class StatusOut(Answer):
    """How everything is, of the projects that the caller may see."""

    version: str
    at: Moment
    ready: bool
    services: list[ServiceOut]
    breakers: dict[str, str]
    beads: InHandOut
    outbox: OutboxOut
    queues: list[DepthOut]
    agents: dict[str, Count] = Field(description="by their states")
    versions: dict[str, Count] = Field(description="of Loom, of how many agents")
    dead_letters: Count
    leases_overdue: Count
    unaccounted: int | None = Field(description="null while the broker cannot be read")
