"""Issues in the rows of a CSV file (RFC 4180), and back.

The names of columns are matched without regard to case, spaces and dashes; a column that Loom does
not know is kept and given back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from loom.domain.imports.difference import Difference, View
from loom.domain.imports.fields import Fields, telling
from loom.domain.imports.issue import Details, Issue, Said, Source, Where
from loom.domain.imports.writing import moment_text
from loom.errors import Invalid

COLUMNS = (
    "id", "title", "description", "status", "priority", "type", "labels", "assignee", "author",
    "blocked_by", "parent", "not_before", "estimated_minutes", "milestone", "url", "design",
    "acceptance_criteria", "notes", "created_at", "updated_at", "closed_at", "close_reason",
    "comments", "extra",
)  # fmt: skip
"""What an export writes, in this order. comments: JSON; extra: other columns, as a JSON object."""
ALIASES = {
    "key": "id", "issue_key": "id", "issue_id": "id", "number": "id", "issue": "id",
    "summary": "title", "subject": "title", "name": "title", "body": "description",
    "details": "description", "state": "status", "prio": "priority", "issue_type": "type",
    "kind": "type", "tags": "labels", "label": "labels", "assignees": "assignee",
    "assigned_to": "assignee", "owner": "assignee", "reporter": "author", "created_by": "author",
    "creator": "author", "depends_on": "blocked_by", "dependencies": "blocked_by",
    "blockers": "blocked_by", "epic": "parent", "parent_id": "parent", "defer_until": "not_before",
    "estimate": "estimated_minutes", "created": "created_at", "updated": "updated_at",
    "closed": "closed_at", "resolved": "closed_at", "resolution": "close_reason",
    "comment": "notes",
}  # fmt: skip
WORDS = ("design", "acceptance_criteria", "notes")
_READY = frozenset({"", "open", "todo", "to do", "new", "backlog", "ready", "reopened"})
_DONE = frozenset({"closed", "done", "resolved", "fixed", "completed", "finished", "cancelled",
                   "canceled", "wontfix", "won't fix", "won't do"})  # fmt: skip
_PRIORITIES = {
    "": 2, "blocker": 0, "critical": 0, "urgent": 0, "highest": 0, "high": 1, "major": 1,
    "medium": 2, "normal": 2, "moderate": 2, "low": 3, "minor": 3, "lowest": 3, "trivial": 3,
}  # fmt: skip
_SEVERAL = re.compile(r"[;,\s]+")
_LABELS = re.compile(r"\s*[;,]\s*")


def column(heading: str) -> str:
    """The name of the column under a heading."""
    name = re.sub(r"[\s-]+", "_", heading.strip().lower())
    return ALIASES.get(name, name)


def read(raw: Mapping[str, Any]) -> Issue:
    """The issue in a row. Raises Invalid."""
    record = telling(raw)
    fields = Fields(record)
    texts = {name: fields.text(name).strip() for name in record if name != "comments"}
    status = texts.get("status", "").lower().replace("_", " ")
    where = Where.DONE if status in _DONE else Where.READY if status in _READY else Where.HELD
    return Issue(
        source=Source.CSV,
        id=fields.id("id").strip(),
        record=record,
        title=fields.text("title"),
        where=where,
        status=status or "open",
        priority=_priority(texts.get("priority", "")),
        description=fields.text("description"),
        context={name: fields.text(name) for name in WORDS if fields.text(name)},
        blocked_by=tuple(dict.fromkeys(_ids(texts.get("blocked_by", "")))),
        parent=texts.get("parent", ""),
        not_before=fields.moment("not_before"),
        begun_at=fields.moment("created_at"),
        ended_at=fields.moment("closed_at"),
        comments=_comments(fields.text("comments")),
        details=Details(
            labels=_labels(texts.get("labels", "")),
            assignees=_labels(texts.get("assignee", "")),
            kind=texts.get("type", ""),
            author=texts.get("author", ""),
            created_at=texts.get("created_at", "") if fields.moment("created_at") else "",
            updated_at=texts.get("updated_at", "") if fields.moment("updated_at") else "",
            closed_at=texts.get("closed_at", "") if fields.moment("closed_at") else "",
            close_reason=texts.get("close_reason", ""),
            estimated_minutes=_minutes(texts.get("estimated_minutes", "")),
            milestone=texts.get("milestone", ""),
            url=texts.get("url", ""),
        ),
    )


def _ids(text: str) -> list[str]:
    return [each for each in _SEVERAL.split(text) if each]


def _labels(text: str) -> tuple[str, ...]:
    return tuple(each for each in _LABELS.split(text) if each)


def _priority(text: str) -> int:
    word = text.lower()
    digit = word.removeprefix("p")
    if digit in {"0", "1", "2", "3", "4"}:
        return min(int(digit), 3)
    if word not in _PRIORITIES:
        raise Invalid(
            f"priority is {text[:40]!r}: it is 0 to 4, P0 to P4, or one of "
            + ", ".join(filter(None, _PRIORITIES)),
            field="priority",
        )
    return _PRIORITIES[word]


def _minutes(text: str) -> int | None:
    if text and not re.fullmatch(r"\d{1,9}", text):
        raise Invalid("estimated_minutes has to be a whole number", field="estimated_minutes")
    return int(text) if text else None


def _comments(text: str) -> tuple[Said, ...]:
    if not text:
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"comments is no JSON: {error}", field="comments") from error
    told = []
    for each in Fields({"comments": found}).objects("comments"):
        fields = Fields(each)
        at = fields.moment("created_at")
        if at is None:
            raise Invalid("a comment has no created_at", field="comments")
        told.append(Said(fields.text("author") or "unknown", fields.text("text"), at))
    return tuple(told)


def write(record: Mapping[str, Any], new: Difference, view: View) -> dict[str, Any]:
    """The row with what differs; of a bead that no file has had, all of it."""
    out = dict(record)
    words: dict[str, Any] = {
        "id": out.get("id") or view.bead.id,
        "title": new.title,
        "description": new.description,
        "priority": None if new.priority is None else str(new.priority),
        "status": new.status,
        "updated_at": moment_text(new.updated_at),
        "closed_at": moment_text(new.closed_at),
        "close_reason": new.close_reason or None,
        "not_before": moment_text(new.not_before),
        "parent": new.parent,
    }
    if new.details is not None:
        words |= _details(new.details, view)
    if new.context is not None:
        words |= {name: _word(new.context.get(name)) for name in WORDS}
    out |= {name: value for name, value in words.items() if value is not None}
    if new.due_now:
        out.pop("not_before", None)
    if new.added or new.removed:
        kept = [each for each in _ids(str(out.get("blocked_by", ""))) if each not in new.removed]
        out["blocked_by"] = " ".join((*kept, *new.added))
    if new.said:
        told = json.loads(str(out.get("comments") or "[]"))
        told += [
            {
                "author": each.author,
                "created_at": moment_text(each.created_at),
                "text": each.text,
            }
            for each in new.said
        ]
        out["comments"] = json.dumps(told, ensure_ascii=False)
    return telling(out)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _details(details: Details, view: View) -> dict[str, Any]:
    minutes = details.estimated_minutes
    return {
        "type": details.kind,
        "labels": "; ".join(details.labels),
        "assignee": "; ".join(details.assignees),
        "author": details.author,
        "created_at": details.created_at or moment_text(view.bead.created_at),
        "estimated_minutes": None if minutes is None else str(minutes),
        "milestone": details.milestone,
        "url": details.url,
    }


def row(record: Mapping[str, Any]) -> list[str]:
    """The cells of a row, in the order of COLUMNS."""
    others = {name: record[name] for name in sorted(record) if name not in COLUMNS}
    extra = json.dumps(others, ensure_ascii=False) if others else ""
    return [*(str(record.get(name, "")) for name in COLUMNS[:-1]), extra]


def cells(headings: list[str], values: list[str]) -> dict[str, str]:
    """The record in a row. Raises Invalid."""
    if len(values) > len(headings):
        raise Invalid(f"the row has {len(values)} cells, and the header {len(headings)}")
    record = dict(zip(headings, values, strict=False))
    extra = record.pop("extra", "")
    if extra:
        try:
            others = json.loads(extra)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"extra is no JSON: {error}", field="extra") from error
        if not isinstance(others, dict) or not all(isinstance(v, str) for v in others.values()):
            raise Invalid("extra has to be a JSON object of texts", field="extra")
        record = others | record
    return {name: value for name, value in record.items() if value}
