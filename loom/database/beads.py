"""Beads in the ledger: filed and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from loom.database import blockers, rows, tables
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.priority import AGEING_S
from loom.errors import IllegalTransition, NotFound

_FILE = text(
    """
    SELECT id, created_at
      FROM file_beads(:project_id, CAST(:beads AS jsonb), :correlation_id, :traceparent, :ageing_s)
    """
)
_GET = select(*tables.bead.c).where(tables.bead.c.id == bindparam("bead_id"))


def file(
    connection: Connection,
    project_id: str,
    beads: Sequence[NewBead],
    correlation_id: str,
    traceparent: str,
) -> tuple[Bead, ...]:
    """File beads that `filing.check_beads` has passed, with what is owed for them.

    One statement, however many, and a few more where they wait for each other. Raises NotFound
    (the project), Conflict (an id), Invalid and IllegalTransition (what they wait for).
    """
    gated = blockers.prepare(connection, beads)
    asked = [
        {
            "ord": ord_,
            "id": bead.id,
            "title": bead.title,
            "description": bead.description,
            "context": dict(bead.context),
            "priority": bead.priority,
            "task_id": new_message_id(),
            "event_id": new_message_id(),
            "not_before": bead.not_before.isoformat() if bead.not_before else None,
            "blocked_by": bead.blocked_by,
            "parent": bead.parent,
            "max_attempts": bead.max_attempts,
            "gated": bead.id in gated,
        }
        for ord_, bead in enumerate(beads)
    ]
    made: dict[str, datetime] = {
        row.id: row.created_at
        for row in connection.execute(
            _FILE,
            {
                "beads": json.dumps(asked),
                "project_id": project_id,
                "correlation_id": correlation_id,
                "traceparent": traceparent,
                "ageing_s": AGEING_S,
            },
        )
    }
    if len(made) < len(beads):
        raise closed(project_id)
    # Parents that were filed before wait from now on; their locks are held.
    blockers.regate(connection, sorted(gated - made.keys()))
    return tuple(
        Bead(
            id=bead.id,
            project_id=project_id,
            title=bead.title,
            description=bead.description,
            context=bead.context,
            priority=bead.priority,
            state=State.OPEN,
            epoch=0,
            version=1,
            correlation_id=correlation_id,
            created_at=made[bead.id],
            updated_at=made[bead.id],
            not_before=bead.not_before,
            blocked_by=bead.blocked_by,
            parent=bead.parent,
            max_attempts=bead.max_attempts,
        )
        for bead in beads
    )


def closed(project_id: str) -> IllegalTransition:
    """The error for beads of a project that takes none."""
    return IllegalTransition(
        f"project {project_id} is closed: it takes no new beads. `loom project reopen "
        f"{project_id}` opens it again",
        project_id=project_id,
    )


def known(connection: Connection, bead_ids: Sequence[str]) -> frozenset[str]:
    """Which of these beads there are."""
    table = tables.bead
    return frozenset(
        connection.execute(select(table.c.id).where(table.c.id.in_(bead_ids))).scalars()
    )


def get(connection: Connection, bead_id: str) -> Bead:
    """One bead. Raises NotFound."""
    row = connection.execute(_GET, {"bead_id": bead_id}).mappings().one_or_none()
    if row is None:
        raise missing(bead_id)
    return rows.bead(row)


def missing(bead_id: str) -> NotFound:
    """The error for a bead that is not there."""
    return NotFound(f"there is no bead {bead_id}", bead_id=bead_id)


def attempts(connection: Connection, bead_id: str) -> tuple[Attempt, ...]:
    """Every try at a bead, oldest first. Raises NotFound."""
    table = tables.attempt
    found = connection.execute(
        select(*table.c).where(table.c.bead_id == bead_id).order_by(table.c.epoch)
    ).mappings()
    tries = tuple(rows.attempt(row) for row in found)
    if not tries:
        get(connection, bead_id)
    return tries
