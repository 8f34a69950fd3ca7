"""The order in which a project's beads leave the ledger: by priority, and older ones rise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from loom.errors import Invalid

MAX_PRIORITY = 3
AGEING_S = 3600.0
"""Seconds of waiting that are worth one priority.

A P3 goes before every P0 that is filed three hours after it, so that nothing waits for ever.
"""
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""No bead is due later, so that its rank is a moment that every part can hold."""


def waiting_since(created_at: datetime, not_before: datetime | None = None) -> datetime:
    """From when a bead's waiting counts: its filing, or when it is due if that is later."""
    return max(created_at, not_before) if not_before else created_at


def effective_priority(priority: int, waited_s: float) -> float:
    """The priority after that much waiting: lower goes first, and it may fall below 0."""
    return priority - waited_s / AGEING_S


def rank(priority: int, since: datetime) -> datetime:
    """A bead's fixed place in its project's order: the earliest rank goes first.

    At every moment it orders beads as their effective priorities do, since all of them fall
    equally fast; so the ledger keeps it in an index and never has to compute it anew.
    """
    return since + timedelta(seconds=priority * AGEING_S)


def check_not_before(moment: datetime | None) -> datetime | None:
    """Return the moment, or raise Invalid if it is too late to ever come."""
    if moment is not None and moment >= LATEST:
        raise Invalid(f"not_before has to be before the year {LATEST.year}", field="not_before")
    return moment
