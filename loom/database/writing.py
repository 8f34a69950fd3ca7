"""Writes the changes of a decision: one statement, however many beads they touch."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from loom.database import beads, blockers
from loom.database.changes import Changes, Ended, Event, FiledBead, Moved, Owed, Started
from loom.database.filing import storable
from loom.database.ordering import RANK
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import lets_go
from loom.domain.priority import rank
from loom.messaging.evidence import artifacts_to_json, commits_to_json, steps_to_json

# Each part is a WITH query over rows that come as one JSON parameter, so that the statement is
# the same for one row and for a thousand. The planner takes any such parameter for a hundred rows;
# the lists of ids beside it tell how many there are, so that one row is found by its index.
_MOVED = """moved_rows AS (
    UPDATE bead b
       SET state = r.state, resolution = r.resolution, reason = r.reason, epoch = r.epoch,
           attempts = r.attempts, forgiven = r.forgiven, version = b.version + 1,
           commits = coalesce(r.commits, b.commits),
           title = coalesce(r.title, b.title),
           description = coalesce(r.description, b.description),
           context = coalesce(r.context, b.context),
           priority = coalesce(r.priority, b.priority),
           dispatched_epoch = CASE WHEN r.state = 'blocked' THEN 0 ELSE b.dispatched_epoch END,
           updated_at = clock_timestamp(),
           closed_at = CASE WHEN r.state = 'closed' THEN clock_timestamp() END
      FROM jsonb_to_recordset(CAST(:moved AS jsonb)) AS r (
           id text, state text, resolution text, reason text, epoch bigint, attempts bigint,
           forgiven bigint, commits jsonb, title text, description text, context jsonb,
           priority smallint)
     WHERE b.id = r.id AND b.id = ANY(:moved_ids)
    RETURNING b.id, b.version, b.updated_at)"""

_ENDED = """ended_rows AS (
    UPDATE attempt a
       SET outcome = r.outcome, finished_at = clock_timestamp(),
           failure_class = r.failure_class, reason = r.reason, output = r.output,
           steps = r.steps, commits = r.commits, artifacts = r.artifacts,
           notes = r.notes
      FROM jsonb_to_recordset(CAST(:ended AS jsonb)) AS r (
           bead_id text, epoch bigint, outcome text, failure_class text, reason text,
           output text, steps jsonb, commits jsonb, artifacts jsonb, notes text)
     WHERE a.bead_id = r.bead_id AND a.epoch = r.epoch AND a.outcome = 'running'
       AND a.bead_id = ANY(:ended_ids))"""

_STARTED = """started_rows AS (
    INSERT INTO attempt (bead_id, epoch, agent_id, request_id, outcome, claimed_at, lease_until)
    SELECT r.bead_id, r.epoch, r.agent_id, r.request_id, 'running', t.now,
           t.now + r.lease_s * interval '1 second'
      FROM jsonb_to_recordset(CAST(:started AS jsonb)) AS r (
           bead_id text, epoch bigint, agent_id text, request_id text,
           lease_s double precision),
           (SELECT clock_timestamp() AS now) AS t)"""

_WITHDRAWN = """withdrawn_rows AS (
    DELETE FROM outbox
     WHERE kind = 'task'
       AND bead_id = ANY(:withdrawn))"""

_OWED = """owed_rows AS (
    INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, attempt, priority,
                        correlation_id, traceparent, available_at, rank, gated)
    SELECT 'task', 'task.assigned', r.message_id, r.project_id, r.bead_id, r.epoch, r.attempt,
           r.priority, r.correlation_id, r.traceparent,
           greatest(clock_timestamp() + r.delay_s * interval '1 second', r.since),
           r.rank, r.gated
      FROM jsonb_to_recordset(CAST(:owed AS jsonb)) AS r (
           ord int, message_id text, project_id text, bead_id text, epoch bigint,
           attempt bigint, priority smallint, correlation_id text, traceparent text,
           delay_s double precision, since timestamptz, rank timestamptz, gated boolean)
     ORDER BY r.ord)"""

_RECALLED = """recalled_rows AS (
    UPDATE bead SET dispatched_epoch = 0 WHERE id = ANY(:recalled))"""

_PRIORITY = f"""priority_rows AS (
    UPDATE outbox o SET priority = r.priority, rank = {RANK.format(bead="b", priority="r.priority")}
      FROM jsonb_to_recordset(CAST(:moved AS jsonb)) AS r (id text, priority smallint)
      JOIN bead b ON b.id = r.id
     WHERE o.kind = 'task' AND o.bead_id = r.id AND r.priority IS NOT NULL
       AND o.bead_id = ANY(:moved_ids))"""  # noqa: S608 - put together from constants

_EVENTS = """told_rows AS (
    INSERT INTO event (message_id, type, project_id, bead_id, epoch, data, correlation_id,
                       traceparent)
    SELECT r.message_id, r.type, r.project_id, r.bead_id, r.epoch, r.data, r.correlation_id,
           r.traceparent
      FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS r (
           ord int, message_id text, type text, project_id text, bead_id text, epoch bigint,
           data jsonb, correlation_id text, traceparent text)
     ORDER BY r.ord),
told_outbox AS (
    INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, correlation_id,
                        traceparent, payload, available_at)
    SELECT 'event', r.type, r.message_id, r.project_id, r.bead_id, r.epoch, r.correlation_id,
           r.traceparent, r.data, clock_timestamp()
      FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS r (
           ord int, message_id text, type text, project_id text, bead_id text, epoch bigint,
           data jsonb, correlation_id text, traceparent text)
     ORDER BY r.ord)"""

_MOVED_ANSWER = "SELECT id, version, updated_at FROM moved_rows"
_NOTHING_MOVED = (
    "moved_rows AS (SELECT NULL::text AS id, 0::bigint AS version, "
    "NULL::timestamptz AS updated_at WHERE false)"
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
    if changes.withdrawn and changes.owed:
        # Likewise of the parts' order: of a bead's epoch only one message may be owed.
        write(connection, Changes(withdrawn=changes.withdrawn))
        changes = replace(changes, withdrawn=())
    if changes.started and changes.ended:
        # The parts of one statement run in no order that is promised, and of one bead only one
        # attempt may run: end the old one first.
        write(connection, Changes(ended=changes.ended))
    parts = [_MOVED if changes.moved else _NOTHING_MOVED]
    rows: dict[str, str | list[str]] = {}
    if changes.moved:
        rows["moved"] = _json(map(_moved, changes.moved))
        rows["moved_ids"] = [move.id for move in changes.moved]
        if any(move.edit for move in changes.moved):
            parts.append(_PRIORITY)
    if changes.ended and not changes.started:
        parts.append(_ENDED)
        rows["ended"] = _json(map(_ended, changes.ended))
        rows["ended_ids"] = [end.bead_id for end in changes.ended]
    if changes.started:
        parts.append(_STARTED)
        rows["started"] = _json(map(_started, changes.started))
    if changes.withdrawn:
        parts.append(_WITHDRAWN)
        rows["withdrawn"] = list(changes.withdrawn)
    if changes.recalled:
        parts.append(_RECALLED)
        rows["recalled"] = list(changes.recalled)
    if changes.owed:
        parts.append(_OWED)
        rows["owed"] = _json(_owed(i, owed) for i, owed in enumerate(changes.owed))
    if changes.events:
        parts.append(_EVENTS)
        rows["events"] = _json(_event(i, event) for i, event in enumerate(changes.events))
    statement = _statement(tuple(parts))
    written = {
        row.id: Written(row.version, row.updated_at) for row in connection.execute(statement, rows)
    }
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


@functools.lru_cache
def _statement(parts: tuple[str, ...]) -> TextClause:
    return text(f"WITH {', '.join(parts)} {_MOVED_ANSWER}")


def _json(rows: Any) -> str:
    return json.dumps(list(rows))


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
