"""GitHub's issues: the objects of its REST API or of `gh issue list --json`, and back.

What Loom keeps of an issue is what people wrote and decided; the addresses and counters around it
are left out. Both forms become the REST one, with the comments in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from loom.domain.imports.difference import Difference, View
from loom.domain.imports.fields import Fields, telling
from loom.domain.imports.issue import Details, Issue, Said, Source, Where
from loom.domain.imports.writing import moment_text
from loom.errors import Invalid

_WAITS = re.compile(
    r"^[ \t>*-]*(?:blocked by|depends on)[: \t]+((?:#\d+(?:[ \t]*(?:,|and)?[ \t]*))+)",
    re.IGNORECASE | re.MULTILINE,
)
"""A line of the text that names what has to be done first, as people write it."""
_NUMBER = re.compile(r"#(\d+)")
_PRIORITY = re.compile(r"(?:priority|prio)?[ /:_-]*p?([0-4])", re.IGNORECASE)
_WORDS = {"critical": 0, "urgent": 0, "highest": 0, "high": 1, "medium": 2, "normal": 2, "low": 3}
_WORDED = re.compile(r"(?:priority|prio)[ /:_-]+([a-z]+)", re.IGNORECASE)
LABEL = "priority: p{}"
"""The label by which an export tells a priority that the issue did not have."""
_PLAIN = ("number", "title", "body", "locked", "loom_id", "parent", "url")


def is_pull_request(raw: Mapping[str, Any]) -> bool:
    """Whether the object is a pull request, which GitHub lists among the issues."""
    return bool(raw.get("pull_request"))


def read(raw: Mapping[str, Any]) -> Issue:
    """The issue in an object of either form. Raises Invalid."""
    record = _normal(raw)
    fields = Fields(record)
    number = fields.number("number")
    labels = fields.texts("labels")
    body = fields.text("body")
    state = fields.text("state")
    if state not in {"open", "closed"}:
        raise Invalid("state has to be open or closed", field="state")
    where = Where.DONE if state == "closed" else Where.READY
    if is_pull_request(raw):
        where = Where.GONE
    why = fields.text("state_reason")
    return Issue(
        source=Source.GITHUB,
        id=str(number) if number is not None else fields.id("loom_id"),
        record=record,
        title=fields.text("title"),
        where=where,
        status=state,
        priority=priority(labels),
        description=body,
        blocked_by=tuple(dict.fromkeys((*_named(body), *fields.texts("blocked_by")))),
        parent=fields.text("parent"),
        begun_at=fields.moment("created_at"),
        ended_at=fields.moment("closed_at"),
        comments=tuple(map(_said, fields.objects("comments"))),
        details=Details(
            labels=labels,
            assignees=fields.texts("assignees"),
            kind="bug" if "bug" in labels else "",
            author=fields.text("user"),
            created_at=fields.text("created_at") if fields.moment("created_at") else "",
            updated_at=fields.text("updated_at") if fields.moment("updated_at") else "",
            closed_at=fields.text("closed_at") if fields.moment("closed_at") else "",
            close_reason=fields.text("close_note") or why.replace("_", " "),
            milestone=fields.text("milestone"),
            url=fields.text("url"),
        ),
    )


def priority(labels: tuple[str, ...]) -> int:
    """Loom's priority of an issue with these labels: as `P1`, `priority: high`, `prio/2`."""
    for label in labels:
        if found := _PRIORITY.fullmatch(label.strip()):
            if label.strip().isdigit():
                continue
            return min(int(found[1]), 3)
        if (worded := _WORDED.fullmatch(label.strip())) and worded[1].lower() in _WORDS:
            return _WORDS[worded[1].lower()]
    return 2


def _named(body: str) -> tuple[str, ...]:
    return tuple(number for line in _WAITS.findall(body) for number in _NUMBER.findall(line))


def _normal(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The record that is kept, of either form."""
    fields = Fields(raw)
    milestone = raw.get("milestone")
    state = fields.text("state").lower()
    record: dict[str, Any] = {name: raw.get(name) for name in _PLAIN} | {
        "state": state,
        "state_reason": (fields.text("state_reason") or fields.text("stateReason")).lower(),
        "close_note": raw.get("close_note"),
        "labels": [_name(each, "name") for each in _list(raw, "labels")],
        "assignees": [_name(each, "login") for each in _list(raw, "assignees")],
        "milestone": _name(milestone, "title") if milestone else "",
        "user": _name(raw.get("user") or raw.get("author") or "", "login"),
        "blocked_by": [str(each) for each in _list(raw, "blocked_by")],
        "comments": [_comment(each) for each in _list(raw, "comments")],
    }
    for name, other in (
        ("created_at", "createdAt"), ("updated_at", "updatedAt"), ("closed_at", "closedAt"),
    ):  # fmt: skip
        record[name] = raw.get(name) or raw.get(other)
    if raw.get("html_url"):
        record["url"] = raw["html_url"]
    if raw.get("parent") is not None:
        record["parent"] = str(raw["parent"])
    kept = telling(record)
    if state == "open":
        # An issue that was reopened says so there; it is open all the same.
        kept.pop("closed_at", None)
    return kept


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    """A list; the REST form has a count in place of the comments."""
    value = raw.get(name)
    if value is None or (name == "comments" and isinstance(value, int)):
        return []
    if not isinstance(value, list):
        raise Invalid(f"{name} has to be a list", field=name)
    return value


def _name(value: Any, field: str) -> str:
    """The name in an object, or the text that stands for it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get(field), str):
        return str(value[field])
    raise Invalid(f"{field} has to be text, or an object with it", field=field)


def _comment(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise Invalid("comments has to be a list of objects", field="comments")
    return {
        "user": _name(raw.get("user") or raw.get("author") or "ghost", "login"),
        "body": raw.get("body"),
        "created_at": raw.get("created_at") or raw.get("createdAt"),
    }


def _said(each: Mapping[str, Any]) -> Said:
    fields = Fields(each)
    at = fields.moment("created_at")
    if at is None:
        raise Invalid("a comment has no created_at", field="comments")
    return Said(fields.text("user") or "ghost", fields.text("body"), at)


def write(record: Mapping[str, Any], new: Difference, view: View) -> dict[str, Any]:
    """The record with what differs; of a bead that GitHub has never seen, all of it."""
    out = dict(record)
    if "number" not in out:
        out["loom_id"] = out.get("loom_id") or view.bead.id
    words: dict[str, Any] = {
        "title": new.title,
        "body": new.description,
        "updated_at": moment_text(new.updated_at),
        "parent": new.parent,
    }
    if new.status:
        words["state"] = "closed" if new.status == "closed" else "open"
        if new.status == "closed":
            words |= {"closed_at": moment_text(new.closed_at), "close_note": new.close_reason}
    if new.details is not None:
        details = new.details
        words |= {
            "labels": list(details.labels),
            "assignees": list(details.assignees),
            "milestone": details.milestone,
            "user": details.author,
            "created_at": details.created_at or moment_text(view.bead.created_at),
            "url": details.url,
        }
    out |= {name: value for name, value in words.items() if value is not None}
    if new.priority is not None and priority(tuple(out.get("labels", ()))) != new.priority:
        others = [each for each in out.get("labels", ()) if priority((each,)) == 2]
        out["labels"] = [*others, LABEL.format(new.priority)]
    listed = [each for each in out.get("blocked_by", ()) if each not in new.removed]
    out["blocked_by"] = [*listed, *new.added]
    out["comments"] = [
        *out.get("comments", ()),
        *(
            {
                "user": each.author,
                "body": each.text,
                "created_at": moment_text(each.created_at),
            }
            for each in new.said
        ),
    ]
    return telling(out)
