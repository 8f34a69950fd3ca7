"""Changes of a bead's words, of what it waits for, and of its place in its project's order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields

from sqlalchemy import Connection, text

from loom.database import audit, beads, blockers, filing
from loom.database.blockers import Known
from loom.database.changes import Changes, Event
from loom.database.ordering import RANK
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.blockers import check_no_cycle
from loom.domain.lifecycle import State
from loom.errors import IllegalTransition, Stale

_AMEND = text(
    f"""
    WITH amended AS (
        UPDATE bead SET priority = :priority, max_attempts = :max_attempts,
                        not_before = CAST(:not_before AS timestamptz),
                        blocked_by = CAST(:blocked_by AS text[]), parent = :parent,
                        title = coalesce(:title, title),
                        description = coalesce(:description, description),
                        context = coalesce(CAST(:context AS jsonb), context),
                        version = version + 1, updated_at = clock_timestamp()
         WHERE id = :bead_id
        RETURNING id, created_at, not_before, traceparent
    ), queued AS (
        UPDATE outbox o
           SET priority = :priority, rank = {RANK.format(bead="b", priority=":priority")},
               available_at = CASE WHEN :due_changes THEN greatest(clock_timestamp(), b.not_before)
                                   ELSE o.available_at END
          FROM amended b WHERE o.kind = 'task' AND o.bead_id = b.id
    )
    SELECT traceparent FROM amended
    """  # noqa: S608 - put together from constants
)


def amend(
    connection: Connection,
    bead_id: str,
    amendment: Amendment,
    *,
    expected_version: int,
    by: Intervention,
) -> Bead:
    """Change a bead as `filing.check_amendment` has passed it; the bead then.

    Raises NotFound, Stale, IllegalTransition, and Invalid for unknown ids and circles.
    """
    links = amendment.links
    if links:
        blockers.lock(connection, ())
    before = beads.get(connection, bead_id)
    after = amendment.apply(before)
    family = sorted({id_ for id_ in (bead_id, before.parent, after.parent) if id_})
    known = blockers.lock_beads(connection, sorted({*family, *(after.blocked_by if links else ())}))
    before = beads.get(connection, bead_id)
    after = amendment.apply(before)
    check_version(before, expected_version)
    if after == before:
        return before
    check_state(before, after)
    check_words(after)
    if links:
        check_links(before, after, known, blockers.reached(connection, {*known} | {bead_id}))
    connection.execute(
        _AMEND,
        {
            "bead_id": bead_id,
            "priority": after.priority,
            "max_attempts": after.max_attempts,
            "not_before": after.not_before,
            "blocked_by": list(after.blocked_by),
            "parent": after.parent,
            "due_changes": after.not_before != before.not_before,
            "title": amendment.title,
            "description": amendment.description,
            "context": None if amendment.context is None else json.dumps(dict(amendment.context)),
        },
    )
    if links:
        blockers.regate(connection, family)
    write(connection, Changes(events=(edited(after, by),)))
    audit.note(connection, by, "bead.edit", bead_id, {"edited": differences(before, after)})
    return beads.get(connection, bead_id)


def differences(before: Bead, after: Bead) -> list[str]:
    """The names of what is not as it was."""
    return [
        field.name
        for field in fields(Bead)
        if getattr(before, field.name) != getattr(after, field.name)
    ]


def check_words(bead: Bead) -> None:
    """Raise Invalid or TooLarge if the bead could not have been filed so."""
    filing.check_bead(
        NewBead(bead.title, bead.id, bead.description, bead.context, blocked_by=bead.blocked_by)
    )


def check_version(bead: Bead, expected_version: int) -> None:
    """Raise Stale if another version was expected; 0: any."""
    if expected_version and expected_version != bead.version:
        raise Stale(
            f"bead {bead.id} is at version {bead.version}, not {expected_version}: "
            "read it again and repeat the change",
            bead_id=bead.id,
            version=str(bead.version),
        )


def check_state(before: Bead, after: Bead) -> None:
    """Raise IllegalTransition if it is too late; whom a bead keeps waiting can always change."""
    alone = Amendment(parent=before.parent).apply(after) == before
    if before.state not in (State.OPEN, State.BLOCKED) and not alone:
        raise IllegalTransition(
            f"bead {before.id} is {before.state.value}: it can be edited while it is open or "
            "blocked",
            bead_id=before.id,
            state=before.state.value,
        )


def check_links(
    before: Bead, after: Bead, known: Mapping[str, Known], reached: Iterable[tuple[str, str]]
) -> None:
    """Raise Invalid or IllegalTransition if the bead cannot be linked so."""
    asked = NewBead(
        after.title,
        after.id,
        blocked_by=after.blocked_by,
        parent=after.parent if after.parent != before.parent else "",
    )
    blockers.check([asked], known)
    waits_for: dict[str, list[str]] = {}
    kept_children = [
        (waiting, blocker)
        for waiting, blocker in reached
        if (waiting != after.id or blocker not in before.blocked_by)
        and (waiting, blocker) != (before.parent, after.id)
    ]
    own = [(after.id, blocker) for blocker in after.blocked_by]
    up = [(after.parent, after.id)] if after.parent else []
    for waiting, blocker in (*kept_children, *own, *up):
        waits_for.setdefault(waiting, []).append(blocker)
    check_no_cycle(waits_for, [after.id, *([after.parent] if after.parent else [])])


def edited(bead: Bead, by: Intervention) -> Event:
    """What is told of it."""
    return Event(
        "bead.edited",
        bead.project_id,
        bead.id,
        bead.epoch,
        {"by": by.actor, "version": bead.version + 1},
        bead.correlation_id,
        by.traceparent,
    )
