"""What a bead says that the record it came from does not: what an export has to write anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom.domain.bead import Bead
from loom.domain.comment import Comment
from loom.domain.imports.issue import Details, Issue, Origin, Said, Source, Where, held_reason
from loom.domain.lifecycle import Resolution, State


@dataclass(frozen=True, slots=True)
class View:
    """A bead with all that is said of it.

    names: the ids that the beads it is linked with have in its origin's source, by their own.
    """

    bead: Bead
    comments: tuple[Comment, ...] = ()
    origin: Origin | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def linked(self) -> tuple[str, ...]:
        """The beads that it names."""
        return (*self.bead.blocked_by, *((self.bead.parent,) if self.bead.parent else ()))

    def name(self, bead_id: str, source: Source) -> str:
        """What a bead that it is linked with is called there."""
        here = self.origin is not None and self.origin.source is source
        return self.names.get(bead_id, bead_id) if here else bead_id

    @property
    def said(self) -> tuple[tuple[Said, Comment], ...]:
        """Every comment that was not deleted."""
        return tuple(
            (Said(each.author, each.text, each.created_at), each)
            for each in self.comments
            if each.deleted_at is None
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as the record says; None: it is.

    status: open, in_progress, blocked or closed. added, removed: of blocked_by, in the source's
    ids; parent likewise, empty for none. said: comments that it lacks.
    """

    title: str | None = None
    description: str | None = None
    priority: int | None = None
    context: Mapping[str, Any] | None = None
    not_before: datetime | None = None
    due_now: bool = False
    status: str | None = None
    closed_at: datetime | None = None
    close_reason: str = ""
    added: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    parent: str | None = None
    said: tuple[Comment, ...] = ()
    details: Details | None = None
    updated_at: datetime | None = None


def whole(view: View, source: Source, details: Details | None) -> Difference:
    """A bead that the source has never seen. details: from the other one that it came from."""
    bead = view.bead
    closed = bead.state is State.CLOSED
    return Difference(
        title=bead.title,
        description=bead.description,
        priority=bead.priority,
        context=bead.context,
        not_before=bead.not_before,
        status=bead.state.value,
        closed_at=bead.closed_at,
        close_reason=_ended(bead) if closed else "",
        added=tuple(view.name(each, source) for each in bead.blocked_by),
        parent=view.name(bead.parent, source) if bead.parent else None,
        said=tuple(comment for _, comment in view.said),
        details=details or Details(),
        updated_at=bead.updated_at,
    )


def difference(view: View, issue: Issue, pending: tuple[str, ...]) -> Difference:
    """What of a bead is not as the issue says that it came from."""
    bead, source = view.bead, issue.source
    linked = {view.name(each, source) for each in bead.blocked_by}
    parent = view.name(bead.parent, source) if bead.parent else ""
    status = _status(bead, issue)
    told = {each.mark for each in issue.comments}
    found: dict[str, Any] = {
        "title": bead.title if bead.title != issue.title else None,
        "description": bead.description if bead.description != issue.description else None,
        "priority": bead.priority if bead.priority != issue.priority else None,
        "context": bead.context if bead.context != issue.context else None,
        "status": status if status != issue.status else None,
        "added": tuple(
            name
            for each in bead.blocked_by
            if (name := view.name(each, source)) not in issue.blocked_by
        ),
        "removed": frozenset(
            each for each in issue.blocked_by if each not in linked and each not in pending
        ),
        "parent": parent if parent != issue.parent and issue.parent not in pending else None,
        "said": tuple(comment for said, comment in view.said if said.mark not in told),
    }
    if bead.not_before != issue.not_before:
        found |= {"not_before": bead.not_before, "due_now": bead.not_before is None}
    if status == State.CLOSED.value:
        found |= {"closed_at": bead.closed_at, "close_reason": _ended(bead)}
    changed = any(
        bool(value) if isinstance(value, tuple | frozenset | bool | str) else value is not None
        for name, value in found.items()
        if name not in {"title", "description", "parent"}
    ) or any(found[name] is not None for name in ("title", "description", "parent"))
    return Difference(**found, updated_at=bead.updated_at if changed else None)


def _status(bead: Bead, issue: Issue) -> str | None:
    """Loom's word for where the bead is; None while that is where the issue is."""
    if bead.state is State.CLOSED:
        return None if issue.where is Where.DONE else bead.state.value
    if bead.state is State.OPEN:
        return None if issue.where is Where.READY else bead.state.value
    if bead.state is State.BLOCKED and bead.reason.startswith(held_reason(issue.source)):
        return None if issue.where is not Where.DONE else bead.state.value
    return bead.state.value


def _ended(bead: Bead) -> str:
    if bead.resolution in (None, Resolution.RECORDED):
        return bead.reason
    return bead.resolution.value + (f": {bead.reason}" if bead.reason else "")
