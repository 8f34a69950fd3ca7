"""Work that came from elsewhere."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, Object
from loom.domain.imports.issue import Source
from loom.domain.imports.verdict import Action


class ImportedOut(Answer):
    """What becomes of the issue on a line; remarks are for a person."""

    line: Count
    action: Action
    external_id: str
    bead_id: str | None
    title: str
    changes: list[str]
    remarks: list[str]


class ImportOut(Answer):
    """What an import did, or would do; counts: of each action."""

    dry_run: bool
    counts: dict[Action, Count]
    results: list[ImportedOut]


class DetailsOut(Answer):
    """What the source says that a bead has no field for."""

    labels: list[str]
    assignees: list[str]
    kind: str
    author: str
    created_at: str
    updated_at: str
    closed_at: str
    close_reason: str
    estimated_minutes: int | None
    milestone: str
    url: str


class OriginOut(Answer):
    """Where a bead came from. record: as the source had it at the last import."""

    bead_id: str
    project_id: str
    source: Source
    external_id: str
    status: str
    details: DetailsOut
    pending: list[str]
    imported_at: Moment | None
    record: Object
