"""The outbox: what the ledger owes the broker, in the ledger's order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, text

from loom.database.filing import storable, task_payload
from loom.database.ordering import CLOCK, IN_PROGRESS, LEASED, READY, SENT
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb

LARGEST_LEASE = 1_000
LARGEST_ANSWER = 8 * 1024 * 1024
TASKS_LOCK = 4_107_482_650_118
"""Leases of tasks happen one at a time, so that two dispatchers never overfill a project's
window."""

BASE_S = 0.5
CAP_S = 60.0

# A project's window is what its agents can soon take: less what stands in its queue (dispatched
# and not claimed) and what is on its way there (leased). Its cap counts what is in progress too.
# Projects take turns by their weights, and so do tasks and what else is owed.
_NOW = "(SELECT now FROM clock)"
_LEASE = text(
    f"""
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), filled AS MATERIALIZED (
        SELECT p.id, p.state, p.weight, p.queue_window, p.max_in_progress,
               greatest(p.finished, {CLOCK}) AS tag,
               {SENT.format(project="p")}
               + {LEASED.format(project="p", now=_NOW)} AS underway
          FROM project p
         WHERE p.state <> 'paused'
           AND EXISTS (SELECT FROM outbox o
                        WHERE o.kind = 'task' AND NOT o.gated AND o.project_id = p.id)
    ), room AS MATERIALIZED (
        SELECT r.*,
               least(queue_window - underway,
                     CASE WHEN max_in_progress > 0
                          THEN max_in_progress - underway - {IN_PROGRESS.format(project="r")}
                     END) AS free
          FROM filled r
    ), tasks AS (
        SELECT due.id, 0 AS side, room.id AS project_id,
               room.tag + (row_number() OVER (PARTITION BY room.id ORDER BY due.rank, due.id) - 1)
                          / CAST(room.weight AS double precision) AS tag
          FROM room CROSS JOIN LATERAL (
               SELECT o.id, o.rank FROM outbox o
                WHERE {READY.format(project="room", now=_NOW)}
                  AND (o.leased_until IS NULL OR o.leased_until <= {_NOW})
                ORDER BY o.rank, o.id
                LIMIT least(greatest(room.free, 0), :limit)
                  FOR UPDATE SKIP LOCKED) AS due
    ), events AS (
        SELECT o.id, 1 AS side FROM outbox o
         WHERE o.kind IN ('event', 'replay')
           AND o.available_at <= (SELECT now FROM clock)
           AND (o.leased_until IS NULL OR o.leased_until <= (SELECT now FROM clock))
         ORDER BY o.id
         LIMIT :limit
           FOR UPDATE SKIP LOCKED
    ), picked AS (
        SELECT id, turn, side, project_id, tag FROM (
            SELECT id, side, row_number() OVER (ORDER BY tag, project_id, id) AS turn,
                   project_id, tag FROM tasks
            UNION ALL
            SELECT id, side, row_number() OVER (ORDER BY id) AS turn, NULL, NULL FROM events
        ) AS both_sides
        ORDER BY turn, side
        LIMIT :limit
    ), shared AS (
        UPDATE project p
           SET started = had.tag, finished = had.tag + 1 / CAST(p.weight AS double precision)
          FROM (SELECT project_id, max(tag) AS tag FROM picked GROUP BY project_id) AS had
         WHERE p.id = had.project_id
    ), leased AS (
        UPDATE outbox o
           SET leased_by = :owner, tries = o.tries + 1,
               leased_until = (SELECT now FROM clock) + :lease_s * interval '1 second'
          FROM picked WHERE o.id = picked.id
        RETURNING o.*, picked.turn, picked.side
    )
    SELECT l.id, l.kind, l.type, l.message_id, l.project_id, l.bead_id, l.epoch, l.attempt,
           l.correlation_id, l.traceparent, l.created_at, CAST(l.payload AS text) AS payload,
           b.title, b.description, b.context,
           d.queue, d.headers, d.content_type, d.body
      FROM leased l LEFT JOIN bead b ON l.kind = 'task' AND b.id = l.bead_id
      LEFT JOIN dead_letter d
             ON l.kind = 'replay' AND d.id = CAST(l.payload ->> 'letter_id' AS bigint)
     ORDER BY l.turn, l.side
    """  # noqa: S608 - put together from constants
)

_UNLEASE = text(
    "UPDATE outbox SET leased_by = NULL, leased_until = NULL, tries = tries - 1 "
    "WHERE id = ANY(:ids)"
)

_PUBLISHED = text(
    """
    WITH gone AS (
        DELETE FROM outbox WHERE id = ANY(:ids) AND leased_by = :owner
        RETURNING kind, bead_id, epoch
    ), dispatched AS (
        SELECT b.id, g.epoch FROM gone g JOIN bead b ON b.id = g.bead_id
         WHERE g.kind = 'task' AND b.dispatched_epoch < g.epoch
         ORDER BY b.id
           FOR NO KEY UPDATE OF b
    ), marked AS (
        UPDATE bead b SET dispatched_epoch = d.epoch, dispatched_at = clock_timestamp()
          FROM dispatched d WHERE b.id = d.id
    )
    SELECT count(*) FROM gone
    """
)

_UNSETTLED = text(
    """
    UPDATE outbox o
       SET leased_by = NULL, leased_until = NULL, last_error = r.reason,
           available_at = clock_timestamp()
               + r.jitter * least(:cap_s, :base_s * power(2, least(o.tries, 20)))
                 * interval '1 second'
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
           id bigint, reason text, jitter double precision)
     WHERE o.id = r.id AND o.leased_by = :owner
    """
)


def lease(connection: Connection, owner: str, limit: int, lease_s: float) -> list[pb.OutboxRow]:
    """Lease rows that are due to owner; its transaction begins with TASKS_LOCK."""
    found = connection.execute(
        _LEASE,
        {"owner": owner, "limit": min(limit, LARGEST_LEASE), "lease_s": lease_s},
    ).mappings()
    leased: list[pb.OutboxRow] = []
    too_many: list[int] = []
    room = LARGEST_ANSWER
    for row in found:
        message = _row_to_pb(row)
        room -= len(message.payload) + len(message.body)
        if room < 0 and leased:
            too_many.append(message.id)
        else:
            leased.append(message)
    if too_many:
        connection.execute(_UNLEASE, {"ids": too_many})
    return leased


_KINDS = {
    "task": pb.OutboxKind.OUTBOX_KIND_TASK,
    "event": pb.OutboxKind.OUTBOX_KIND_EVENT,
    "replay": pb.OutboxKind.OUTBOX_KIND_REPLAY,
}


def _row_to_pb(row: RowMapping) -> pb.OutboxRow:
    return pb.OutboxRow(
        id=row["id"],
        kind=_KINDS[row["kind"]],
        type=row["type"],
        message_id=row["message_id"],
        project_id=row["project_id"],
        bead_id=row["bead_id"],
        epoch=row["epoch"],
        attempt=row["attempt"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        payload=_payload(row),
        created_at=codec.stamp(row["created_at"]),
        body=bytes(row["body"] or b""),
    )


def _payload(row: RowMapping) -> str:
    if row["kind"] == "task":
        return task_payload(row["title"], row["description"], row["context"])
    if row["kind"] == "replay":
        return replay_payload(row["queue"], row["headers"], row["content_type"])
    return str(row["payload"])


def replay_payload(queue: str, headers: str, content_type: str) -> str:
    """What a replay's message is made of besides its body, as JSON. headers: JSON."""
    words = {"queue": queue, "headers": json.loads(headers or "{}"), "content_type": content_type}
    return json.dumps(words)


def settle(
    connection: Connection,
    owner: str,
    published: Sequence[int],
    unsettled: Sequence[tuple[int, str]],
) -> tuple[int, int]:
    """Remove what the broker confirmed and put off what it did not; how many were owner's."""
    gone = put_off = 0
    if published:
        gone = connection.execute(_PUBLISHED, {"ids": list(published), "owner": owner}).scalar_one()
    if unsettled:
        rows = [
            {
                "id": id_,
                "reason": storable(reason)[:1000],
                "jitter": random.uniform(0.5, 1.0),  # noqa: S311 - spreads load, no secret
            }
            for id_, reason in unsettled
        ]
        put_off = connection.execute(
            _UNSETTLED,
            {"rows": json.dumps(rows), "owner": owner, "cap_s": CAP_S, "base_s": BASE_S},
        ).rowcount
    return gone, put_off
