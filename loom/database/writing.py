"""Writes the changes of a decision: one call of the database, however many beads they touch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from loom.database import beads, blockers
from loom.database.changes import Changes, Ended, Event, FiledBead, Moved, Owed, Started
from loom.database.filing import storable
from loom.database.ordering import RANK
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import lets_go
from loom.domain.priority import rank
from loom.messaging.evidence import artifacts_to_json, commits_to_json, steps_to_json

# Rows come as one JSON parameter each, so that a call is the same for one row and for a thousand.
_WRITE = text(
    """
    SELECT id, version, updated_at
      FROM write_changes(:withdrawn, CAST(:ended AS jsonb), :ended_ids, CAST(:moved AS jsonb),
                         :moved_ids, CAST(:started AS jsonb), :recalled, CAST(:owed AS jsonb),
                         CAST(:events AS jsonb))
    """
)
_PRIORITY = text(
    f"""
    UPDATE outbox o SET priority = b.priority, rank = {RANK.format(bead="b", priority="b.priority")}
      FROM bead b
     WHERE b.id = ANY(:ids) AND o.kind = 'task' AND o.bead_id = b.id
    """  # noqa: S608 - put together from constants
)


@dataclass(frozen=True, slots=True)
class Written:
    """What a moved bead has become besides what was asked."""

    version: int
    updated_at: datetime


def write(connection: Connection, changes: Changes) -> Mapping[str, Written]:
    """Write the changes; of each bead that moved, its new version and moment."""
    if not changes:
        return {}
    rows = {
        "withdrawn": list(changes.withdrawn) or None,
        "ended": _json(map(_ended, changes.ended)),
        "ended_ids": [end.bead_id for end in changes.ended],
        "moved": _json(map(_moved, changes.moved)),
        "moved_ids": [move.id for move in changes.moved],
        "started": _json(map(_started, changes.started)),
        "recalled": list(changes.recalled) or None,
        "owed": _json(_owed(i, owed) for i, owed in enumerate(changes.owed)),
        "events": _json(_event(i, event) for i, event in enumerate(changes.events)),
    }
    written = {
        row.id: Written(row.version, row.updated_at) for row in connection.execute(_WRITE, rows)
    }
    edited = [move.id for move in changes.moved if move.edit]
    if edited:
        connection.execute(_PRIORITY, {"ids": edited})
    blockers.release(
        connection,
        [move.id for move in changes.moved if lets_go(move.resolution)],
    )
    if changes.filed:
        _file(connection, changes.filed)
    return written


def _file(connection: Connection, filed: Sequence[FiledBead]) -> None:
    """File those beads that are not there yet, of each asking bead in one statement."""
    known = beads.known(connection, [each.bead.id for each in filed])
    asked: dict[tuple[str, str, str], list[NewBead]] = {}
    for each in filed:
        if each.bead.id not in known:
            key = (each.project_id, each.correlation_id, each.traceparent)
            asked.setdefault(key, []).append(each.bead)
    for (project_id, correlation_id, traceparent), new in asked.items():
        beads.file(connection, project_id, new, correlation_id, traceparent)


def _json(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The rows as one parameter; None where there are none."""
    listed = list(rows)
    return json.dumps(listed) if listed else None


def _moved(move: Moved) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": move.id,
        "state": move.state.value,
        "resolution": move.resolution.value if move.resolution else None,
        "reason": storable(move.reason),
        "epoch": move.epoch,
        "attempts": move.attempts,
        "forgiven": move.forgiven,
    }
    if move.commits is not None:
        row["commits"] = _storable(commits_to_json(move.commits))
    if move.edit is not None:
        row |= {
            "title": move.edit.title,
            "description": move.edit.description,
            "context": dict(move.edit.context),
            "priority": move.edit.priority,
        }
    return row


def _ended(end: Ended) -> dict[str, Any]:
    evidence = end.evidence
    return {
        "bead_id": end.bead_id,
        "epoch": end.epoch,
        "outcome": end.outcome,
        "failure_class": evidence.failure_class.value if evidence.failure_class else None,
        "reason": storable(evidence.reason),
        "output": storable(evidence.output),
        "steps": _storable(steps_to_json(evidence.steps)),
        "commits": _storable(commits_to_json(evidence.commits)),
        "artifacts": _storable(artifacts_to_json(evidence.artifacts)),
        "notes": storable(evidence.notes),
    }


def _started(start: Started) -> dict[str, Any]:
    return {
        "bead_id": start.bead_id,
        "epoch": start.epoch,
        "agent_id": start.agent_id,
        "request_id": start.request_id,
        "lease_s": start.lease_s,
    }


def _owed(ord_: int, owed: Owed) -> dict[str, Any]:
    return {
        "ord": ord_,
        "message_id": new_message_id(),
        "project_id": owed.project_id,
        "bead_id": owed.bead_id,
        "epoch": owed.epoch,
        "attempt": owed.attempt,
        "priority": owed.priority,
        "correlation_id": owed.correlation_id,
        "traceparent": owed.traceparent,
        "delay_s": owed.delay_s,
        "since": owed.since.isoformat(),
        "rank": rank(owed.priority, owed.since).isoformat(),
        "gated": owed.gated,
    }


def _event(ord_: int, event: Event) -> dict[str, Any]:
    return {
        "ord": ord_,
        "message_id": new_message_id(),
        "type": event.type,
        "project_id": event.project_id,
        "bead_id": event.bead_id,
        "epoch": event.epoch,
        "data": _storable(event.data),
        "correlation_id": event.correlation_id,
        "traceparent": event.traceparent,
    }


def _storable(value: Any) -> Any:
    """A JSON value with every text as PostgreSQL can hold it."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
