"""What the ledger holds of a waiting bead, gathered in one statement."""

from __future__ import annotations

from sqlalchemy import Connection, text

from loom.database import presence
from loom.database.beads import missing
from loom.database.ordering import IN_PROGRESS, LEASED, READY, SENT
from loom.domain.lifecycle import Resolution, State
from loom.domain.presence import crew_of
from loom.domain.project import ProjectState
from loom.domain.waiting import Blocker, Facts

_NOW = "clock.now"
_FACTS = text(
    f"""
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
    SELECT w.id AS bead_id, w.project_id, w.state, clock.now, w.created_at, w.priority,
           w.resolution, w.reason, w.not_before, w.attempts, w.assignee, p.state AS project_state,
           p.max_in_progress AS cap, p.queue_window AS window,
           q.id IS NOT NULL AS owed, coalesce(q.leased_until > clock.now, false) AS leased,
           q.available_at, coalesce(q.tries, 0) AS tries, coalesce(q.last_error, '') AS last_error,
           w.state = 'open' AND w.dispatched_epoch = w.epoch + 1 AS sent,
           w.dispatched_at AS sent_at,
           {IN_PROGRESS.format(project="p")} AS in_progress,
           {SENT.format(project="p")} AS sent_of_project,
           {LEASED.format(project="p", now=_NOW)} AS leased_of_project,
           (SELECT count(*) FROM outbox o
             WHERE {READY.format(project="p", now=_NOW)}
               AND (o.leased_until IS NULL OR o.leased_until <= clock.now)
               AND (o.rank, o.id) < (q.rank, q.id)) AS ahead,
           coalesce(a.agent_id, '') AS agent,
           coalesce(extract(epoch FROM a.lease_until - clock.now), 0) AS lease_left_s,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(k.id, k.state, k.resolution, k.child)
                                      ORDER BY k.id), '[]')
              FROM (SELECT k.id, k.state, k.resolution, false AS child FROM bead k
                     WHERE k.id = ANY(w.blocked_by)
                       AND coalesce(k.resolution, '') NOT IN ('succeeded', 'recorded')
                    UNION ALL
                    SELECT k.id, k.state, k.resolution, true FROM bead k
                     WHERE k.parent = w.id AND k.parent <> ''
                       AND coalesce(k.resolution, '') NOT IN ('succeeded', 'recorded')) AS k
           ) AS blockers
      FROM clock, bead w
      JOIN project p ON p.id = w.project_id
      LEFT JOIN outbox q ON q.kind = 'task' AND q.bead_id = w.id AND q.epoch = w.epoch + 1
      LEFT JOIN attempt a ON a.bead_id = w.id AND a.outcome = 'running'
     WHERE w.id = :bead_id
    """  # noqa: S608 - put together from constants
)


def facts(connection: Connection, bead_id: str) -> Facts:
    """What is known of a bead that may wait. Raises NotFound."""
    row = connection.execute(_FACTS, {"bead_id": bead_id}).mappings().one_or_none()
    if row is None:
        raise missing(bead_id)
    words = dict(row)
    return Facts(
        **words
        | {
            "state": State(row["state"]),
            "resolution": Resolution(row["resolution"]) if row["resolution"] else None,
            "project_state": ProjectState(row["project_state"]),
            "lease_left_s": float(row["lease_left_s"]),
            "crew": crew_of(presence.of_project(connection, row["project_id"])),
            "blockers": tuple(
                Blocker(id_, State(state), Resolution(end) if end else None, child)
                for id_, state, end, child in row["blockers"]
            ),
        }
    )
