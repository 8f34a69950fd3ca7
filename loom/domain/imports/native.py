"""Loom's own beads as records, by which work is kept in a file or moved to another Loom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain.imports.difference import Difference, View
from loom.domain.imports.fields import Fields, telling
from loom.domain.imports.issue import Details, Issue, Said, Source, Where
from loom.domain.imports.writing import moment_text
from loom.errors import Invalid

_MEANS = {"open": Where.READY, "closed": Where.DONE}


def read(raw: Mapping[str, Any]) -> Issue:
    """The bead in a record. Raises Invalid."""
    record = telling(raw) | {"priority": raw.get("priority", 2)}
    fields = Fields(record)
    state = fields.text("state")
    if state not in {"open", "in_progress", "blocked", "closed"}:
        raise Invalid("state has to be open, in_progress, blocked or closed", field="state")
    priority = fields.number("priority")
    if priority not in {0, 1, 2, 3}:
        raise Invalid("priority has to be 0 to 3", field="priority")
    about = Fields(fields.object("details"))
    return Issue(
        source=Source.LOOM,
        id=fields.id("id"),
        record=record,
        title=fields.text("title"),
        where=_MEANS.get(state, Where.HELD),
        status=state,
        priority=priority,
        description=fields.text("description"),
        context=fields.object("context"),
        blocked_by=tuple(dict.fromkeys(fields.texts("blocked_by"))),
        parent=fields.text("parent"),
        not_before=fields.moment("not_before"),
        begun_at=fields.moment("created_at"),
        ended_at=fields.moment("closed_at"),
        comments=tuple(map(_said, fields.objects("comments"))),
        details=Details(
            labels=about.texts("labels"),
            assignees=about.texts("assignees"),
            kind=about.text("kind"),
            author=about.text("author"),
            created_at=about.text("created_at") or fields.text("created_at"),
            updated_at=about.text("updated_at"),
            closed_at=fields.text("closed_at"),
            close_reason=fields.text("reason"),
            estimated_minutes=about.number("estimated_minutes"),
            milestone=about.text("milestone"),
            url=about.text("url"),
        ),
    )


def _said(each: Mapping[str, Any]) -> Said:
    fields = Fields(each)
    at = fields.moment("created_at")
    if at is None:
        raise Invalid("a comment has no created_at", field="comments")
    return Said(fields.text("author") or "unknown", fields.text("text"), at)


def write(record: Mapping[str, Any], new: Difference, view: View) -> dict[str, Any]:
    """The record with what differs; of a bead that was filed here, all of it."""
    out = dict(record)
    bead = view.bead
    words: dict[str, Any] = {
        "id": out.get("id") or bead.id,
        "title": new.title,
        "description": new.description,
        "priority": new.priority,
        "context": None if new.context is None else dict(new.context),
        "state": new.status,
        "updated_at": moment_text(new.updated_at),
        "closed_at": moment_text(new.closed_at),
        "not_before": moment_text(new.not_before),
        "parent": new.parent,
    }
    if new.status:
        words |= {
            "resolution": bead.resolution.value if bead.resolution else "",
            "reason": bead.reason,
            "commits": [{"sha": c.sha, "branch": c.branch} for c in bead.commits],
        }
    if new.details is not None:
        words |= {
            "created_at": moment_text(bead.created_at),
            "max_attempts": bead.max_attempts or None,
            "details": _details(new.details),
        }
    out |= {name: value for name, value in words.items() if value is not None}
    if new.due_now:
        out.pop("not_before", None)
    kept = [each for each in out.get("blocked_by", ()) if each not in new.removed]
    out["blocked_by"] = [*kept, *new.added]
    out["comments"] = [
        *out.get("comments", ()),
        *(
            {
                "author": each.author,
                "text": each.text,
                "created_at": moment_text(each.created_at),
            }
            for each in new.said
        ),
    ]
    return telling(out) | {"priority": out["priority"]}


def _details(details: Details) -> dict[str, Any]:
    return telling(
        {
            "labels": list(details.labels),
            "assignees": list(details.assignees),
            "kind": details.kind,
            "author": details.author,
            "created_at": details.created_at,
            "updated_at": details.updated_at,
            "estimated_minutes": details.estimated_minutes,
            "milestone": details.milestone,
            "url": details.url,
        }
    )
