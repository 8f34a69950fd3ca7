"""Reconciles the ledger with what was read of the broker, and mends what does not agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from loom.database import expiry, rows
from loom.database.changes import Changes
from loom.database.reconcile_changes import LOST, reopened, reowed
from loom.database.writing import write
from loom.domain.reconciliation import (
    DEFAULT_GRACE_S,
    MAX_GRACE_S,
    Account,
    Depth,
    Held,
    Mended,
    Reconciliation,
    compare,
    to_owe,
)
from loom.errors import Invalid
from loom.messaging.topology import dead_key, task_key

LARGEST = 1_000
"""Beads mended of each kind in one call, which is one transaction."""

_DISPATCHED = "b.state = 'open' AND b.dispatched_epoch = b.epoch + 1"
_OWED = (
    "EXISTS (SELECT FROM outbox o"
    " WHERE o.kind = 'task' AND o.bead_id = b.id AND o.epoch = b.epoch + 1)"
)
_LATE = (
    "coalesce(b.dispatched_at, b.updated_at)"
    " <= clock_timestamp() - (:grace_s + :age_s) * interval '1 second'"
)
_ADRIFT = f"""b.updated_at <= clock_timestamp() - :grace_s * interval '1 second' AND (
    b.state = 'open' AND b.dispatched_epoch <> b.epoch + 1 AND NOT {_OWED}
    OR b.state = 'in_progress' AND NOT EXISTS (
        SELECT FROM attempt a WHERE a.bead_id = b.id AND a.outcome = 'running'))"""

# A bead in the outbox is owed, whatever was dispatched of it before.
_HELD = text(
    f"""
    WITH beads AS (
        SELECT b.project_id,
               count(*) FILTER (WHERE {_OWED}) AS owed,
               count(*) FILTER (WHERE {_DISPATCHED} AND NOT {_OWED}) AS dispatched,
               count(*) FILTER (WHERE {_DISPATCHED} AND NOT {_OWED} AND {_LATE}) AS overdue,
               count(*) FILTER (WHERE {_ADRIFT}) AS stuck
          FROM bead b WHERE b.state IN ('open', 'in_progress')
         GROUP BY b.project_id
    ), attempts AS (
        SELECT b.project_id,
               count(*) FILTER (
                   WHERE a.claimed_at <= clock_timestamp() - :age_s * interval '1 second'
               ) AS running,
               count(*) FILTER (
                   WHERE a.lease_until <= clock_timestamp() - :grace_s * interval '1 second'
               ) AS expired
          FROM attempt a JOIN bead b ON b.id = a.bead_id
         WHERE a.outcome = 'running'
         GROUP BY b.project_id
    ), letters AS (
        SELECT d.project_id, count(*) AS dead FROM dead_letter d GROUP BY d.project_id
    )
    SELECT p.id AS project_id, coalesce(owed, 0) AS owed, coalesce(dispatched, 0) AS dispatched,
           coalesce(overdue, 0) AS overdue, coalesce(running, 0) AS running,
           coalesce(expired, 0) AS expired, coalesce(stuck, 0) AS stuck, coalesce(dead, 0) AS dead
      FROM project p
      LEFT JOIN beads ON beads.project_id = p.id
      LEFT JOIN attempts ON attempts.project_id = p.id
      LEFT JOIN letters ON letters.project_id = p.id
    """  # noqa: S608 - put together from the constants above
)

# The conditions hold for the row as it is when its lock is got, so that a claim that has just been
# made wins.
_LOST = text(
    f"""
    SELECT b.id FROM bead b
     WHERE b.project_id = ANY(:projects) AND {_DISPATCHED} AND NOT {_OWED} AND {_LATE}
     ORDER BY b.id LIMIT :limit
       FOR UPDATE OF b SKIP LOCKED
    """  # noqa: S608 - put together from the constants above
)
_STUCK = text(
    f"""
    SELECT b.id FROM bead b
     WHERE b.state IN ('open', 'in_progress') AND {_ADRIFT}
     ORDER BY b.id LIMIT :limit
       FOR UPDATE OF b SKIP LOCKED
    """  # noqa: S608 - put together from the constants above
)

# Else they would still fill their project's window, and its rows would never be leased.
_NOT_DISPATCHED = text("UPDATE bead SET dispatched_epoch = 0 WHERE id = ANY(:ids)")


def check_grace(grace_s: float | None) -> float:
    """Seconds of grace, the default for None. Raises Invalid."""
    if grace_s is None:
        return DEFAULT_GRACE_S
    if not 0 <= grace_s <= MAX_GRACE_S:
        raise Invalid(f"the grace is 0 to {MAX_GRACE_S:g} seconds", field="grace_s")
    return grace_s


def queues_of(
    projects: Sequence[str], depths: Sequence[Depth]
) -> Mapping[str, tuple[Depth | None, Depth | None]]:
    """The queue of tasks and the one of dead letters that were read of each project."""
    found = {depth.queue: depth for depth in depths}
    return {each: (found.get(task_key(each)), found.get(dead_key(each))) for each in projects}


def reconcile(
    connection: Connection, depths: Sequence[Depth], *, repair: bool, grace_s: float
) -> Reconciliation:
    """Compare, and with repair mend; the accounts are those from before."""
    age_s = max((depth.age_s for depth in depths), default=0.0)
    given = {"grace_s": grace_s, "age_s": age_s}
    held = [Held(**row) for row in connection.execute(_HELD, given).mappings()]
    accounts = compare(held, queues_of([each.project_id for each in held], depths))
    return Reconciliation(accounts, _mend(connection, accounts, given) if repair else Mended())


def _mend(
    connection: Connection, accounts: Sequence[Account], given: Mapping[str, float]
) -> Mended:
    given = {**given, "limit": LARGEST}
    projects = list(to_owe(accounts))
    lost: list[str] = []
    if projects:
        lost = list(connection.execute(_LOST, given | {"projects": projects}).scalars())
    stuck: list[str] = []
    if any(account.held.stuck for account in accounts):
        stuck = list(connection.execute(_STUCK, given).scalars())
    standings = rows.lock_standings(connection, sorted({*lost, *stuck})) if lost or stuck else {}
    changes = Changes()
    for id_ in lost:
        changes += reowed(standings[id_], LOST)
    for id_ in stuck:
        changes += reopened(standings[id_])
    write(connection, changes)
    if lost:
        connection.execute(_NOT_DISPATCHED, {"ids": lost})
    ended = 0
    if any(account.held.expired for account in accounts):
        ended = expiry.expire(connection, LARGEST).lost
    return Mended(reowed=len(lost), reopened=len(stuck), expired=ended)
