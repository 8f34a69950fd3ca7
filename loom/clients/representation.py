"""The domain's values as the HTTP API's JSON, and back: one place for both ends."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from loom.domain import rulebook
from loom.domain.bead import Amendment, Attempt, Bead, NewBead
from loom.domain.bulk import BulkAnswer, Done, Verdict
from loom.domain.evidence import FailureClass
from loom.domain.lifecycle import Resolution, State
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.domain.replay import LetterState
from loom.domain.waiting import Reason, Why
from loom.messaging.deadletter import DeadLetter
from loom.messaging.evidence import (
    artifacts_from_json,
    artifacts_to_json,
    commits_from_json,
    commits_to_json,
    steps_from_json,
    steps_to_json,
)

API = "/api/v1"


def time_to_json(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, to the microsecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_from_json(text: str | None) -> datetime | None:
    """The moment in an RFC 3339 text."""
    return datetime.fromisoformat(text) if text else None


def project_path(project_id: str) -> str:
    """Where a project is."""
    return f"{API}/projects/{project_id}"


def bead_path(bead_id: str) -> str:
    """Where a bead is."""
    return f"{API}/beads/{bead_id}"


def project_to_json(project: Project) -> dict[str, Any]:
    """A project."""
    here = project_path(project.id)
    return {
        "id": project.id,
        "name": project.name,
        "repository": project.repository,
        "default_branch": project.default_branch,
        "test_command": list(project.test_command),
        "timeout_s": project.timeout_s,
        "soft_timeout_s": project.soft_timeout_s,
        "queue_window": project.queue_window,
        "state": project.state.value,
        "weight": project.weight,
        "max_in_progress": project.max_in_progress,
        "max_attempts": project.max_attempts,
        "rules": rulebook.to_json(project.rules),
        "version": project.version,
        "created_at": time_to_json(project.created_at),
        "links": {
            "self": here,
            "beads": f"{here}/beads",
            "dead_letters": f"{here}/dead-letters",
        },
    }


def project_from_json(document: Mapping[str, Any]) -> Project:
    """A project."""
    return Project(
        id=document["id"],
        name=document["name"],
        repository=document["repository"],
        default_branch=document["default_branch"],
        test_command=tuple(document["test_command"]),
        timeout_s=document["timeout_s"],
        soft_timeout_s=document["soft_timeout_s"],
        queue_window=document["queue_window"],
        created_at=time_from_json(document["created_at"]),
        state=ProjectState(document["state"]),
        weight=document["weight"],
        max_in_progress=document["max_in_progress"],
        max_attempts=document["max_attempts"],
        rules=rulebook.of_json(document["rules"]),
        version=document["version"],
    )


def new_project_to_json(project: Project) -> dict[str, Any]:
    """A project as it is made."""
    document = project_to_json(project)
    for key in ("created_at", "links", "version"):
        del document[key]
    if not project.test_command:
        del document["test_command"]
    return document


def project_change_to_json(change: ProjectChange) -> dict[str, Any]:
    """What is to change of a project."""
    document = dict(change.given())
    if change.test_command is not None:
        document["test_command"] = list(change.test_command)
    return document


def new_bead_to_json(bead: NewBead) -> dict[str, Any]:
    """A bead as it is filed."""
    document: dict[str, Any] = {
        "title": bead.title,
        "description": bead.description,
        "context": dict(bead.context),
        "priority": bead.priority,
    }
    more = {
        "id": bead.id,
        "not_before": time_to_json(bead.not_before),
        "blocked_by": list(bead.blocked_by),
        "parent": bead.parent,
        "max_attempts": bead.max_attempts,
    }
    return document | {name: value for name, value in more.items() if value}


def bead_to_json(bead: Bead) -> dict[str, Any]:
    """A bead."""
    here = bead_path(bead.id)
    return {
        "id": bead.id,
        "project_id": bead.project_id,
        "title": bead.title,
        "description": bead.description,
        "context": dict(bead.context),
        "priority": bead.priority,
        "state": bead.state.value,
        "resolution": bead.resolution.value if bead.resolution else None,
        "reason": bead.reason,
        "epoch": bead.epoch,
        "version": bead.version,
        "correlation_id": bead.correlation_id,
        "commits": commits_to_json(bead.commits),
        "created_at": time_to_json(bead.created_at),
        "updated_at": time_to_json(bead.updated_at),
        "closed_at": time_to_json(bead.closed_at),
        "not_before": time_to_json(bead.not_before),
        "blocked_by": list(bead.blocked_by),
        "parent": bead.parent or None,
        "max_attempts": bead.max_attempts,
        "assignee": bead.assignee or None,
        "links": {"self": here, "attempts": f"{here}/attempts", "why": f"{here}/why"},
    }


def bead_from_json(document: Mapping[str, Any]) -> Bead:
    """A bead."""
    resolution = document["resolution"]
    return Bead(
        id=document["id"],
        project_id=document["project_id"],
        title=document["title"],
        description=document["description"],
        context=document["context"],
        priority=document["priority"],
        state=State(document["state"]),
        resolution=Resolution(resolution) if resolution else None,
        reason=document["reason"],
        epoch=document["epoch"],
        version=document["version"],
        correlation_id=document["correlation_id"],
        commits=commits_from_json(document["commits"]),
        created_at=datetime.fromisoformat(document["created_at"]),
        updated_at=datetime.fromisoformat(document["updated_at"]),
        closed_at=time_from_json(document["closed_at"]),
        not_before=time_from_json(document["not_before"]),
        blocked_by=tuple(document["blocked_by"]),
        parent=document["parent"] or "",
        max_attempts=document["max_attempts"],
        assignee=document["assignee"] or "",
    )


def amendment_to_json(amendment: Amendment) -> dict[str, Any]:
    """What is to change of a bead; null takes away."""
    words = {
        "title": amendment.title,
        "description": amendment.description,
        "context": None if amendment.context is None else dict(amendment.context),
    }
    document: dict[str, Any] = {name: each for name, each in words.items() if each is not None}
    if amendment.priority is not None:
        document["priority"] = amendment.priority
    if amendment.max_attempts is not None:
        document["max_attempts"] = amendment.max_attempts
    if amendment.blocked_by is not None:
        document["blocked_by"] = list(amendment.blocked_by)
    if amendment.parent is not None:
        document["parent"] = amendment.parent or None
    if amendment.not_before or amendment.due_now:
        document["not_before"] = time_to_json(amendment.not_before)
    return document


def bulk_to_json(answer: BulkAnswer) -> dict[str, Any]:
    """What became of many beads, each and counted."""
    counts = Counter(each.verdict for each in answer.done)
    return {
        "outcomes": [
            {
                "id": each.bead_id,
                "verdict": each.verdict.value,
                "code": each.code or None,
                "why": each.why or None,
            }
            for each in answer.done
        ],
        **{verdict.value: counts[verdict] for verdict in Verdict},
        "more": answer.more,
    }


def bulk_from_json(document: Mapping[str, Any]) -> BulkAnswer:
    """What became of many beads."""
    return BulkAnswer(
        tuple(
            Done(each["id"], Verdict(each["verdict"]), each["code"] or "", each["why"] or "")
            for each in document["outcomes"]
        ),
        document["more"],
    )


def why_to_json(why: Why) -> dict[str, Any]:
    """Why a bead is not running: what is to be dealt with first, then all that holds it up."""
    reasons = [{"code": r.code, "sentence": r.sentence, "remedy": r.remedy} for r in why.reasons]
    return {
        "bead_id": why.bead_id,
        "state": why.state.value,
        **reasons[0],
        "reasons": reasons,
        "position": why.position or None,
        "effective_priority": why.effective_priority,
        "links": {"bead": bead_path(why.bead_id)},
    }


def why_from_json(document: Mapping[str, Any]) -> Why:
    """Why a bead is not running."""
    return Why(
        bead_id=document["bead_id"],
        state=State(document["state"]),
        reasons=tuple(Reason(r["code"], r["sentence"], r["remedy"]) for r in document["reasons"]),
        effective_priority=document["effective_priority"],
        position=document["position"] or 0,
    )


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """One try at a bead."""
    return {
        "bead_id": attempt.bead_id,
        "epoch": attempt.epoch,
        "agent_id": attempt.agent_id,
        "outcome": attempt.outcome,
        "claimed_at": time_to_json(attempt.claimed_at),
        "lease_until": time_to_json(attempt.lease_until),
        "finished_at": time_to_json(attempt.finished_at),
        "failure_class": attempt.failure_class.value if attempt.failure_class else None,
        "reason": attempt.reason,
        "steps": steps_to_json(attempt.steps),
        "commits": commits_to_json(attempt.commits),
        "output": attempt.output,
        "artifacts": artifacts_to_json(attempt.artifacts),
        "notes": attempt.notes,
    }


def attempt_from_json(document: Mapping[str, Any]) -> Attempt:
    """One try at a bead."""
    failure_class = document["failure_class"]
    return Attempt(
        bead_id=document["bead_id"],
        epoch=document["epoch"],
        agent_id=document["agent_id"],
        outcome=document["outcome"],
        claimed_at=datetime.fromisoformat(document["claimed_at"]),
        lease_until=datetime.fromisoformat(document["lease_until"]),
        finished_at=time_from_json(document["finished_at"]),
        failure_class=FailureClass(failure_class) if failure_class else None,
        reason=document["reason"],
        steps=steps_from_json(document["steps"]),
        commits=commits_from_json(document["commits"]),
        output=document["output"],
        artifacts=artifacts_from_json(document["artifacts"]),
        notes=document["notes"],
    )


def dead_letter_to_json(letter: DeadLetter) -> dict[str, Any]:
    """A message that was given up; a body that is not UTF-8 travels as base64."""
    try:
        body, encoding = letter.body.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(letter.body).decode(), "base64"
    return {
        "id": letter.id,
        "state": letter.state.value,
        "message_id": letter.message_id,
        "queue": letter.queue,
        "project_id": letter.project_id,
        "bead_id": letter.bead_id,
        "epoch": letter.epoch,
        "reason": letter.reason,
        "detail": letter.detail,
        "correlation_id": letter.correlation_id,
        "headers": json.loads(letter.headers or "{}"),
        "deaths": json.loads(letter.deaths or "[]"),
        "body": body,
        "body_encoding": encoding,
        "size": letter.size,
        "cut": letter.cut,
        "content_type": letter.content_type,
        "fingerprint": letter.fingerprint,
        "recorded_at": time_to_json(letter.recorded_at),
        "settled_at": time_to_json(letter.settled_at),
        "settled_by": letter.settled_by,
        "note": letter.note,
        "links": {"self": f"{API}/dead-letters/{letter.id}"},
    }


def dead_letter_from_json(document: Mapping[str, Any]) -> DeadLetter:
    """A message that was given up."""
    body: str = document["body"]
    return DeadLetter(
        message_id=document["message_id"],
        queue=document["queue"],
        project_id=document["project_id"],
        bead_id=document["bead_id"],
        epoch=document["epoch"],
        reason=document["reason"],
        detail=document["detail"],
        correlation_id=document["correlation_id"],
        headers=json.dumps(document["headers"], sort_keys=True),
        deaths=json.dumps(document["deaths"]),
        body=base64.b64decode(body) if document["body_encoding"] == "base64" else body.encode(),
        fingerprint=document["fingerprint"],
        recorded_at=time_from_json(document["recorded_at"]),
        content_type=document["content_type"],
        size=document["size"],
        id=document["id"],
        state=LetterState(document["state"]),
        settled_at=time_from_json(document["settled_at"]),
        settled_by=document["settled_by"],
        note=document["note"],
        cut=document["cut"],
    )
