"""The issues of `bd`, the beads tracker: the objects of its JSONL, and back.

The fields are those of `types.Issue` in github.com/steveyegge/beads; one that Loom does not know is
kept and given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain.imports.difference import Difference, View
from loom.domain.imports.fields import Fields, telling
from loom.domain.imports.issue import Details, Issue, Said, Source, Where
from loom.domain.imports.writing import moment_text
from loom.domain.priority import MAX_PRIORITY
from loom.errors import Invalid

DERIVED = frozenset({"dependency_count", "dependent_count", "comment_count", "content_hash"})
"""What some versions write beside the issue and compute anew."""
WORDS = ("design", "acceptance_criteria", "notes")
"""Texts that the agent gets in the bead's context, under the same names."""
NO_WORK = frozenset(
    {"epic", "message", "gate", "agent", "role", "event", "convoy", "molecule", "merge-request"}
)
"""Types of issues that nobody can work at: headings, and what the tracker keeps for itself."""
LOWEST = 4
BLOCKS, CHILD = "blocks", "parent-child"
WAITS = frozenset({"conditional-blocks", "waits-for"})
"""Dependencies that hold an issue back there and that Loom has no like of."""
_MEANS = {"open": Where.READY, "closed": Where.DONE, "tombstone": Where.GONE}


def read(raw: Mapping[str, Any]) -> Issue:
    """The issue in a record. Raises Invalid."""
    record = {key: value for key, value in telling(raw).items() if key not in DERIVED}
    fields = Fields(record)
    status = fields.text("status") or "open"
    kind = fields.text("issue_type")
    where = _MEANS.get(status, Where.HELD)
    if fields.text("_type") not in {"", "issue"}:
        where = Where.GONE
    elif where is Where.READY and (kind in NO_WORK or record.get("is_template")):
        where = Where.HELD
    priority = raw.get("priority", 2)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= LOWEST:
        raise Invalid(f"priority has to be 0 to {LOWEST}", field="priority")
    record["priority"] = priority
    blocked_by, parents, others = _dependencies(fields)
    assignee = fields.text("assignee")
    return Issue(
        source=Source.BD,
        id=fields.id("id") if where is not Where.GONE else fields.text("id"),
        record=record,
        title=fields.text("title"),
        where=where,
        status=status,
        priority=min(priority, MAX_PRIORITY),
        description=fields.text("description"),
        context={name: text for name in WORDS if (text := fields.text(name))},
        blocked_by=blocked_by,
        parent=parents[0] if parents else "",
        not_before=fields.moment("defer_until"),
        begun_at=fields.moment("created_at"),
        ended_at=fields.moment("closed_at"),
        comments=tuple(map(_said, fields.objects("comments"))),
        details=Details(
            labels=fields.texts("labels"),
            assignees=(assignee,) if assignee else (),
            kind=kind,
            author=fields.text("created_by"),
            created_at=_moment(fields, "created_at"),
            updated_at=_moment(fields, "updated_at"),
            closed_at=_moment(fields, "closed_at"),
            close_reason=fields.text("close_reason"),
            estimated_minutes=fields.number("estimated_minutes"),
            url=fields.text("external_ref"),
        ),
        others=(
            *others,
            *(f"a second parent, {each}, is kept and not used" for each in parents[1:]),
        ),
    )


def _moment(fields: Fields, name: str) -> str:
    return fields.text(name) if fields.moment(name) else ""


def _dependencies(fields: Fields) -> tuple[tuple[str, ...], list[str], list[str]]:
    """What blocks the issue, its parents, and what is only kept."""
    blocked_by: dict[str, None] = {}
    parents: dict[str, None] = {}
    others = []
    for each in fields.objects("dependencies"):
        of = Fields(each)
        other, kind = of.id("depends_on_id"), of.text("type") or BLOCKS
        if kind == BLOCKS:
            blocked_by[other] = None
        elif kind == CHILD:
            parents[other] = None
        elif kind in WAITS:
            others.append(f"that it {kind} {other} is kept and not obeyed")
    return tuple(blocked_by), list(parents), others


def _said(each: Mapping[str, Any]) -> Said:
    fields = Fields(each)
    at = fields.moment("created_at")
    if at is None:
        raise Invalid("a comment has no created_at", field="comments")
    return Said(fields.text("author") or "unknown", fields.text("text"), at)


def write(record: Mapping[str, Any], new: Difference, view: View) -> dict[str, Any]:
    """The record with what differs; of a bead that bd has never seen, all of it."""
    out = dict(record)
    words: dict[str, Any] = {
        "id": out.get("id") or view.bead.id,
        "title": new.title,
        "description": new.description,
        "priority": new.priority,
        "status": new.status,
        "updated_at": moment_text(new.updated_at),
        "closed_at": moment_text(new.closed_at),
        "close_reason": new.close_reason or None,
        "defer_until": moment_text(new.not_before),
    }
    if new.details is not None:
        words |= _details(new.details, view)
    if new.context is not None:
        words |= {name: new.context.get(name, "") for name in WORDS}
    out |= {name: value for name, value in words.items() if value is not None}
    if new.due_now:
        out.pop("defer_until", None)
    if new.status and new.status != "closed":
        for name in ("closed_at", "close_reason"):
            out.pop(name, None)
    out["dependencies"] = _links(out, new, view)
    out["comments"] = [
        *out.get("comments", ()),
        *(
            {
                "issue_id": out["id"],
                "author": each.author,
                "text": each.text,
                "created_at": moment_text(each.created_at),
            }
            for each in new.said
        ),
    ]
    return telling(out) | {"priority": out["priority"]}


def _details(details: Details, view: View) -> dict[str, Any]:
    return {
        "issue_type": details.kind or "task",
        "labels": list(details.labels),
        "assignee": ", ".join(details.assignees),
        "created_by": details.author,
        "created_at": details.created_at or moment_text(view.bead.created_at),
        "estimated_minutes": details.estimated_minutes,
        "external_ref": details.url,
    }


def _links(out: Mapping[str, Any], new: Difference, view: View) -> list[Mapping[str, Any]]:
    kept = [
        each
        for each in out.get("dependencies", ())
        if not (_kind(each) == BLOCKS and each["depends_on_id"] in new.removed)
        and not (_kind(each) == CHILD and new.parent is not None)
    ]
    links = [(name, BLOCKS) for name in new.added]
    links += [(new.parent, CHILD)] if new.parent else []
    return kept + [
        {
            "issue_id": out["id"],
            "depends_on_id": name,
            "type": kind,
            "created_at": moment_text(view.bead.created_at),
            "created_by": "loom",
        }
        for name, kind in links
    ]


def _kind(dependency: Mapping[str, Any]) -> str:
    return str(dependency.get("type") or BLOCKS)
