"""The audit trail."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Object


class AuditLineOut(Answer):
    """One thing that somebody did."""

    id: Count
    at: Moment
    actor: str
    action: str
    target: str
    reason: str
    correlation_id: str
    detail: Object


class AuditPageOut(Answer):
    """Some lines of the trail, newest first."""

    lines: list[AuditLineOut]
    next_cursor: NextCursor
