"""Attempts whose lease ran out, by the database's clock."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from loom.database import decisions, rows, tables
from loom.database.changes import Changes
from loom.database.writing import write
from loom.domain.lifecycle import State

LARGEST = 1_000


@dataclass(frozen=True, slots=True)
class Expired:
    """How many attempts were lost, and of their beads how many are owed again or blocked."""

    lost: int
    retried: int
    blocked: int


def expired(changes: Changes) -> Expired:
    """The counts of what was decided."""
    states = [move.state for move in changes.moved]
    return Expired(len(changes.ended), states.count(State.OPEN), states.count(State.BLOCKED))


def expire(connection: Connection, limit: int) -> Expired:
    """End what ran out, up to limit, leaving out what another transaction is busy with.

    The conditions on the bead hold for the row as it is when its lock is got, so that a result
    that was just applied wins.
    """
    a, b = tables.attempt, tables.bead
    found = connection.execute(
        select(*rows.standing_columns(), *rows.running_columns())
        .join(b, b.c.id == a.c.bead_id)
        .join(tables.project, tables.project.c.id == b.c.project_id)
        .where(
            a.c.outcome == "running",
            a.c.lease_until <= func.clock_timestamp(),
            b.c.state == State.IN_PROGRESS.value,
            b.c.epoch == a.c.epoch,
        )
        .order_by(a.c.lease_until)
        .limit(min(limit or LARGEST, LARGEST))
        .with_for_update(of=[b, a], skip_locked=True)
    ).mappings()
    changes = Changes()
    for row in found:
        bead = rows.standing(row, rows.running_of(row))
        changes += decisions.lost(bead, random.random())  # noqa: S311 - spreads load, no secret
    write(connection, changes)
    return expired(changes)
