"""Imports: what is known of the issues is read, the plan is made, and all of it is written.

Each in one transaction, which holds the lock under which links are made; so two imports that name
the same issues come one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from loom.database import (
    audit,
    blockers,
    decisions,
    exporting,
    filing,
    interventions,
    projects,
    rows,
)
from loom.database.changes import Changes, Event, Moved, Standing
from loom.database.ordering import RANK
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.bead import MAX_BATCH, MAX_BLOCKERS, NewBead
from loom.domain.comment import MAX_AUTHOR
from loom.domain.identity import check_project_id, new_message_id
from loom.domain.imports import plan
from loom.domain.imports.issue import Issue, Origin, Source, Where
from loom.domain.imports.reading import Line, read
from loom.domain.imports.verdict import Asked, Change, Here, New, Plan, Verdict
from loom.domain.lifecycle import Move, State, move
from loom.errors import Invalid, LoomError

_MAKE = text(
    f"""
    WITH asked AS (
        SELECT r.*, coalesce(r.begun_at, now()) + ord * interval '1 microsecond' AS created_at
          FROM jsonb_to_recordset(CAST(:beads AS jsonb)) AS r (
            ord int, id text, title text, description text, context jsonb, priority smallint,
            state text, resolution text, reason text, begun_at timestamptz,
            closed_at timestamptz, not_before timestamptz, blocked_by text[], parent text,
            task_id text, event_id text, external_id text, record jsonb, pending text[])
    ), filed AS (
        INSERT INTO bead (id, project_id, title, description, context, priority, state, resolution,
                          reason, correlation_id, traceparent, created_at, updated_at, closed_at,
                          not_before, blocked_by, parent)
        SELECT id, :project_id, title, description, context, priority, state, resolution, reason,
               :correlation_id, :traceparent, created_at, now(), closed_at, not_before, blocked_by,
               parent
          FROM asked ORDER BY ord
    ), kept AS (
        INSERT INTO origin (bead_id, project_id, source, external_id, record, pending)
        SELECT id, :project_id, :source, external_id, record, pending FROM asked
    ), owed AS (
        INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, attempt, priority,
                            correlation_id, traceparent, available_at, rank)
        SELECT 'task', 'task.assigned', task_id, :project_id, id, 1, 1, priority,
               :correlation_id, :traceparent, greatest(now(), not_before),
               {RANK.format(bead="asked", priority="priority")}
          FROM asked WHERE state = 'open' ORDER BY ord
    ), journal AS (
        INSERT INTO event (message_id, type, project_id, bead_id, epoch, data, correlation_id,
                           traceparent)
        SELECT event_id, 'bead.created', :project_id, id, 0,
               jsonb_build_object('title', title, 'priority', priority, 'state', state,
                                  'imported_from', CAST(:source AS text)),
               :correlation_id, :traceparent
          FROM asked ORDER BY ord
        RETURNING message_id, bead_id, data
    )
    INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, correlation_id,
                        traceparent, payload, available_at)
    SELECT 'event', 'bead.created', message_id, :project_id, bead_id, 0, :correlation_id,
           :traceparent, data, now()
      FROM journal
    """  # noqa: S608 - put together from constants
)

_CHANGE = text(
    f"""
    WITH asked AS (
        SELECT * FROM jsonb_to_recordset(CAST(:beads AS jsonb)) AS r (
            id text, title text, description text, context jsonb, priority smallint, reason text,
            not_before timestamptz, blocked_by text[], parent text)
    ), changed AS (
        UPDATE bead b
           SET title = r.title, description = r.description, context = r.context,
               priority = r.priority, reason = r.reason, not_before = r.not_before,
               blocked_by = r.blocked_by, parent = r.parent, version = b.version + 1,
               updated_at = clock_timestamp()
          FROM asked r WHERE b.id = r.id
        RETURNING b.id, b.created_at, b.not_before, b.priority
    )
    UPDATE outbox o
       SET priority = b.priority, rank = {RANK.format(bead="b", priority="b.priority")},
           available_at = greatest(o.available_at, b.not_before)
      FROM changed b WHERE o.kind = 'task' AND o.bead_id = b.id
    """  # noqa: S608 - put together from constants
)

_ORIGINS = text(
    """
    UPDATE origin o SET record = r.record, pending = r.pending, imported_at = clock_timestamp()
      FROM jsonb_to_recordset(CAST(:origins AS jsonb)) AS r (
           bead_id text, record jsonb, pending text[])
     WHERE o.bead_id = r.bead_id
    """
)

_COMMENTS = text(
    """
    INSERT INTO comment (id, project_id, bead_id, author, text, created_at, source, mark)
    SELECT r.id, :project_id, r.bead_id, r.author, r.text, r.created_at, :source, r.mark
      FROM jsonb_to_recordset(CAST(:comments AS jsonb)) AS r (
           id text, bead_id text, author text, text text, created_at timestamptz, mark text)
    ON CONFLICT DO NOTHING
    """
)


def issues(source: Source, lines: Sequence[Line]) -> list[Asked]:
    """What the lines say, each as it can be filed, or what is wrong with it. Raises Invalid."""
    if not 1 <= len(lines) <= MAX_BATCH:
        raise Invalid(
            f"a request imports 1 to {MAX_BATCH} issues, not {len(lines)}: send several",
            field="records",
        )
    numbers = [line.number for line in lines]
    if len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise Invalid("each record has a line of its own, from 0", field="records")
    return [_asked(source, line) for line in lines]


def _asked(source: Source, line: Line) -> Asked:
    if line.record is None:
        return Asked(line.number, fault=line.fault)
    try:
        issue = read(source, line.record)
        if issue.where is not Where.GONE:
            filing.check_bead(
                NewBead(
                    issue.title,
                    description=issue.description,
                    context=issue.context,
                    not_before=issue.not_before,
                )
            )
            if len(issue.blocked_by) > MAX_BLOCKERS:
                raise Invalid(f"it waits for more than {MAX_BLOCKERS} others")
            if any(len(each.author) > MAX_AUTHOR for each in issue.comments):
                raise Invalid("the author of a comment has a name that is too long")
    except LoomError as error:
        return Asked(line.number, fault=error.detail)
    return Asked(line.number, issue)


def run(
    connection: Connection, project_id: str, source: Source, lines: Sequence[Line],
    by: Intervention, *, dry_run: bool, start: bool, admit: Callable[[Connection, int], None],
) -> tuple[Verdict, ...]:  # fmt: skip
    """Import; what became of each line. Raises NotFound (the project), Invalid, Exhausted."""
    asked = issues(source, lines)
    projects.get(connection, check_project_id(project_id))
    blockers.lock(connection, ())
    here = _here(connection, project_id, source, asked)
    made = plan.plan(asked, here, run=start)
    if not dry_run and (made.new or made.changed):
        admit(connection, len(made.new) + len(made.changed))
        _write(connection, project_id, source, made, by)
    return made.verdicts


def _here(connection: Connection, project_id: str, source: Source, asked: Sequence[Asked]) -> Here:
    """What the ledger holds of what the issues name, its beads locked."""
    named = [each.issue for each in asked if each.issue is not None]
    ids = sorted({name for issue in named for name in (issue.id, *issue.refs)})
    origins = exporting.origins_named(connection, project_id, source, ids)
    meant = {origin.bead_id for origin in origins} | set(ids)
    meant |= {bead_id for issue in named for bead_id in plan.candidates(project_id, issue)}
    blockers.lock_beads(connection, sorted(meant))
    views = exporting.views(connection, sorted(meant))
    known = {origin.external_id: origin for origin in origins}
    # The way along links may be long, and only new ones can close a circle.
    linking = any(_links_anew(issue, known.get(issue.id)) for issue in named)
    reached = blockers.reached(connection, [view.bead.id for view in views]) if linking else []
    return Here(project_id, known, {view.bead.id: view for view in views}, tuple(reached))


def _links_anew(issue: Issue, origin: Origin | None) -> bool:
    """Whether links may come of an issue that are not there yet."""
    if origin is None:
        return True
    return bool(origin.pending) or read(origin.source, origin.record).refs != issue.refs


def _write(
    connection: Connection, project_id: str, source: Source, made: Plan, by: Intervention
) -> None:
    words = {
        "project_id": project_id, "source": source.value, "correlation_id": by.correlation_id,
        "traceparent": by.traceparent,
    }  # fmt: skip
    said = [(each.origin.bead_id, each.issue.comments) for each in made.new]
    said += [(each.bead.id, each.comments) for each in made.changed]
    if made.new:
        now = datetime.now(UTC)
        new = [row(ord_, each, now) for ord_, each in enumerate(made.new)]
        connection.execute(_MAKE, {"beads": json.dumps(new), **words})
    worded = [each for each in made.changed if each.words]
    if worded:
        connection.execute(_CHANGE, {"beads": json.dumps([_words(each) for each in worded])})
    if made.changed:
        kept = [
            {
                "bead_id": each.bead.id,
                "record": dict(each.origin.record),
                "pending": each.origin.pending,
            }
            for each in made.changed
        ]
        connection.execute(_ORIGINS, {"origins": json.dumps(kept)})
    comments = [
        {
            "id": f"cm-{new_message_id()}",
            "bead_id": bead_id,
            "author": each.author,
            "text": each.text,
            "created_at": each.at.isoformat(),
            "mark": each.mark,
        }
        for bead_id, told in said
        for each in told
    ]
    if comments:
        connection.execute(_COMMENTS, {"comments": json.dumps(comments), **words})
    family = {each.origin.bead_id for each in made.new} | {each.bead.id for each in worded}
    family |= {each.parent for each in made.new if each.parent}
    family |= {each.bead.parent for each in worded if each.bead.parent}
    blockers.regate(connection, sorted(family))
    standings = rows.lock_standings(connection, [each.bead.id for each in made.changed])
    write(connection, moves(made, standings, by))
    audit.note(
        connection, by, "project.import", project_id,
        {"source": source.value, "made": len(made.new), "changed": len(made.changed)},
    )  # fmt: skip


def row(ord_: int, new: New, now: datetime) -> dict[str, Any]:
    """A bead that is made. What ended elsewhere has the moments that it had there."""
    issue = new.issue
    ended = new.state is State.CLOSED
    closed_at = min(issue.ended_at or now, now)
    return {
        "ord": ord_,
        "id": new.origin.bead_id,
        "title": issue.title,
        "description": issue.description,
        "context": dict(issue.context),
        "priority": issue.priority,
        "state": new.state.value,
        "resolution": new.resolution.value if new.resolution else None,
        "reason": new.reason,
        "begun_at": min(issue.begun_at or closed_at, closed_at).isoformat() if ended else None,
        "closed_at": closed_at.isoformat() if ended else None,
        "not_before": issue.not_before.isoformat() if issue.not_before else None,
        "blocked_by": new.blocked_by,
        "parent": new.parent,
        "task_id": new_message_id(),
        "event_id": new_message_id(),
        "external_id": issue.id,
        "record": dict(issue.record),
        "pending": new.origin.pending,
    }


def _words(change: Change) -> dict[str, Any]:
    bead = change.bead
    return {
        "id": bead.id,
        "title": bead.title,
        "description": bead.description,
        "context": dict(bead.context),
        "priority": bead.priority,
        "reason": bead.reason,
        "not_before": bead.not_before.isoformat() if bead.not_before else None,
        "blocked_by": bead.blocked_by,
        "parent": bead.parent,
    }


def moves(made: Plan, standings: dict[str, Standing], by: Intervention) -> Changes:
    """What the plan tells of beads that are there: they end, may start, or were edited."""
    changes = Changes()
    for each in made.changed:
        bead = standings[each.bead.id]
        if each.ends:
            changes += _ended(bead, each.ends)
        elif each.starts:
            changes += interventions.unblock(bead, by)
        if each.words:
            data = {"by": by.actor, "version": bead.version}
            changes += Changes(events=(_event(bead, "bead.edited", data),))
    return changes


def _ended(bead: Standing, reason: str) -> Changes:
    state, resolution = move(bead.id, bead.state, Move.RECORD)
    moved = Moved(bead.id, state, resolution, reason, bead.epoch, bead.attempts, bead.forgiven)
    data = {
        "state": state.value,
        "epoch": bead.epoch,
        "attempt": bead.attempts,
        "reason": reason[: decisions.TOLD],
        "resolution": resolution.value if resolution else "",
    }
    event = _event(bead, "bead.closed", data)
    return Changes(moved=(moved,), withdrawn=(bead.id,), events=(event,))


def _event(bead: Standing, kind: str, data: dict[str, Any]) -> Event:
    return Event(
        kind, bead.project_id, bead.id, bead.epoch, data, bead.correlation_id, bead.traceparent
    )
