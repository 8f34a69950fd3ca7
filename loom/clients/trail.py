"""Groups and replays of dead letters and the audit trail as the HTTP API's JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from loom.clients.representation import API, time_from_json, time_to_json
from loom.domain.audit import AuditLine
from loom.domain.replay import LetterGroup, Replay, ReplayState

LETTERS = f"{API}/dead-letters"
GROUPS = f"{LETTERS}/groups"
REPLAYS = f"{LETTERS}/replays"
AUDIT = f"{API}/audit"


def group_to_json(group: LetterGroup) -> dict[str, Any]:
    """Dead letters of one cause."""
    return {
        "fingerprint": group.fingerprint,
        "project_id": group.project_id,
        "queue": group.queue,
        "reason": group.reason,
        "detail": group.detail,
        "count": group.count,
        "open": group.open,
        "first_at": time_to_json(group.first_at),
        "last_at": time_to_json(group.last_at),
        "example_id": group.example_id,
        "links": {
            "letters": f"{LETTERS}?fingerprint={group.fingerprint}",
            "example": f"{LETTERS}/{group.example_id}",
        },
    }


def group_from_json(document: Mapping[str, Any]) -> LetterGroup:
    """Dead letters of one cause."""
    return LetterGroup(
        fingerprint=document["fingerprint"],
        project_id=document["project_id"],
        queue=document["queue"],
        reason=document["reason"],
        detail=document["detail"],
        count=document["count"],
        open=document["open"],
        first_at=datetime.fromisoformat(document["first_at"]),
        last_at=datetime.fromisoformat(document["last_at"]),
        example_id=document["example_id"],
    )


def replay_to_json(replay: Replay) -> dict[str, Any]:
    """The replay of a group."""
    return {
        "id": replay.id,
        "fingerprint": replay.fingerprint,
        "state": replay.state.value,
        "rate_per_s": replay.rate_per_s,
        "replayed": replay.replayed,
        "refused": replay.refused,
        "left": replay.left,
        "why": replay.why,
        "actor": replay.actor,
        "reason": replay.reason,
        "created_at": time_to_json(replay.created_at),
        "ended_at": time_to_json(replay.ended_at),
    }


def replay_from_json(document: Mapping[str, Any]) -> Replay:
    """The replay of a group."""
    return Replay(
        id=document["id"],
        fingerprint=document["fingerprint"],
        state=ReplayState(document["state"]),
        rate_per_s=document["rate_per_s"],
        replayed=document["replayed"],
        refused=document["refused"],
        left=document["left"],
        why=document["why"],
        actor=document["actor"],
        reason=document["reason"],
        created_at=time_from_json(document["created_at"]),
        ended_at=time_from_json(document["ended_at"]),
    )


def audit_line_to_json(line: AuditLine) -> dict[str, Any]:
    """One thing that somebody did."""
    return {
        "id": line.id,
        "at": time_to_json(line.at),
        "actor": line.actor,
        "action": line.action,
        "target": line.target,
        "reason": line.reason,
        "correlation_id": line.correlation_id,
        "detail": dict(line.detail),
    }


def audit_line_from_json(document: Mapping[str, Any]) -> AuditLine:
    """One thing that somebody did."""
    return AuditLine(
        id=document["id"],
        at=datetime.fromisoformat(document["at"]),
        actor=document["actor"],
        action=document["action"],
        target=document["target"],
        reason=document["reason"],
        correlation_id=document["correlation_id"],
        detail=document["detail"],
    )
