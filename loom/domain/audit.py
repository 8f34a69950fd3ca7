"""What people do to the ledger, and the lines that tell of it later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom.errors import Invalid

MAX_REASON = 2_000


@dataclass(frozen=True, slots=True)
class Intervention:
    """Who does something, and why."""

    actor: str
    reason: str
    correlation_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One thing that somebody did.

    action: as `bead.cancel`, `dead_letter.replay`. target: the id of what it was done to.
    """

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    reason: str
    correlation_id: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


def takes(patterns: str, action: str) -> bool:
    """Whether an action is one of those asked for: `bead.cancel`, `user.*`, or several of such,
    apart by commas; empty: any.
    """
    return not patterns or any(
        action.startswith(each[:-1]) if each.endswith(".*") else action == each
        for each in patterns.split(",")
    )


def check_intervention(by: Intervention) -> Intervention:
    """The intervention; raises Invalid unless it says who and why."""
    for name, value, most in (("actor", by.actor, 200), ("reason", by.reason, MAX_REASON)):
        if not value.strip() or len(value) > most or "\0" in value:
            raise Invalid(f"{name} has to say something, in at most {most} characters", field=name)
    if "\0" in by.correlation_id + by.traceparent:
        raise Invalid("correlation_id has a NUL character", field="correlation_id")
    return by
