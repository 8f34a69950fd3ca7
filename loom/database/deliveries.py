"""Deliveries of events to webhooks: owed once, leased, tried, and dead in the end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, text, update

from loom.database import cursor, journal, subscribers, tables
from loom.database.changes import Changes, Event
from loom.database.filing import storable
from loom.database.writing import write
from loom.domain.event import START, EventFilter, EventLine, Place
from loom.domain.identity import new_message_id
from loom.domain.webhook import (
    AT_ONCE,
    KEPT_RESPONSE,
    PING,
    REST_AFTER,
    Delivery,
    DeliveryState,
    Errand,
    Tried,
    Webhook,
    judge,
    told,
)
from loom.errors import IllegalTransition, Invalid, NotFound

PAGE, LARGEST_PAGE = 50, 500
LARGEST_LEASE = 100
LONGEST_LEASE_S = 300.0
ENDED_KEPT_DAYS, DEAD_KEPT_DAYS = 14, 90

_FEED = text("SELECT era, xid, id FROM webhook_feed FOR UPDATE SKIP LOCKED")
_FED = text("UPDATE webhook_feed SET era = :era, xid = :xid, id = :id")
_OWE = text(
    """
    INSERT INTO webhook_delivery (webhook_id, message_id, event_id, type, tries, status, error,
                                  response, duration_ms)
    SELECT r.webhook_id, r.message_id, r.event_id, r.type, 0, 0, '', '', 0
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
           webhook_id text, message_id text, event_id bigint, type text)
    ON CONFLICT DO NOTHING
    """
)
# Of one webhook a few at a time, so that one that is slow holds up no other; and while it fails,
# one at a time, and none while it rests.
_LEASE = text(
    f"""
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), room AS MATERIALIZED (
        SELECT w.id, w.url, w.secret,
               (CASE WHEN w.failures >= {REST_AFTER} THEN 1 ELSE {AT_ONCE} END)
               - (SELECT count(*) FROM webhook_delivery d
                   WHERE d.webhook_id = w.id AND d.state = 'pending'
                     AND d.leased_until > (SELECT now FROM clock)) AS free
          FROM webhook w
         WHERE w.active
           AND (w.resting_until IS NULL OR w.resting_until <= (SELECT now FROM clock))
    ), due AS (
        SELECT next.id, room.url, room.secret
          FROM room CROSS JOIN LATERAL (
               SELECT d.id, d.due_at FROM webhook_delivery d
                WHERE d.webhook_id = room.id AND d.state = 'pending'
                  AND d.due_at <= (SELECT now FROM clock)
                  AND (d.leased_until IS NULL OR d.leased_until <= (SELECT now FROM clock))
                ORDER BY d.due_at, d.id
                LIMIT greatest(room.free, 0)
                  FOR UPDATE SKIP LOCKED) AS next
         ORDER BY next.due_at, next.id
         LIMIT :limit
    ), leased AS (
        UPDATE webhook_delivery d
           SET leased_by = :owner,
               leased_until = (SELECT now FROM clock) + :lease_s * interval '1 second'
          FROM due WHERE d.id = due.id
        RETURNING d.id AS delivery_id, d.webhook_id, d.message_id AS ping_id,
                  d.created_at AS ping_at, d.event_id, due.url, due.secret
    )
    SELECT l.*, e.era, e.xid, e.id, e.message_id, e.type, e.project_id, e.bead_id, e.epoch,
           e.data, e.correlation_id, e.traceparent, e.at
      FROM leased l LEFT JOIN event e ON e.id = l.event_id
     ORDER BY l.delivery_id
    """  # noqa: S608 - put together from constants
)
_HELD = text(
    """
    SELECT d.*, w.failures, w.active
      FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id
     WHERE d.id = :id AND d.leased_by = :owner AND d.state = 'pending'
       FOR UPDATE OF d, w
    """
)
_SETTLED = text(
    """
    UPDATE webhook_delivery
       SET state = :state, tries = tries + 1, status = :status, error = :error,
           response = :response, duration_ms = :duration_ms, tried_at = clock_timestamp(),
           due_at = clock_timestamp() + :delay_s * interval '1 second',
           leased_by = NULL, leased_until = NULL,
           ended_at = CASE WHEN :state <> 'pending' THEN clock_timestamp() END
     WHERE id = :id
    """
)
_HEARD = text(
    """
    UPDATE webhook
       SET failures = :failures, active = active AND :disabled = '',
           reason = CASE WHEN :disabled = '' THEN reason ELSE :disabled END,
           resting_until = CASE WHEN CAST(:rest_s AS double precision) > 0
                                THEN clock_timestamp() + :rest_s * interval '1 second' END,
           last_ok_at = CASE WHEN :failures = 0 THEN clock_timestamp() ELSE last_ok_at END
     WHERE id = :id
    """
)


_UNTRIED = {"tries": 0, "status": 0, "error": "", "response": "", "duration_ms": 0}


def give_out(connection: Connection, hooks: Sequence[Webhook]) -> int:
    """Owe new events to the webhooks that want them, each once; how many deliveries that is.

    Nothing happens while somebody else does it.
    """
    row = connection.execute(_FEED).one_or_none() if hooks else None
    if row is None:
        return 0
    at = Place(row.era, row.xid, row.id)
    page = journal.read(connection, EventFilter(), at, journal.LARGEST_PAGE)
    if not page.events:
        return 0
    owed = [
        {
            "webhook_id": hook.id,
            "message_id": event.id,
            "event_id": event.place.id,
            "type": event.type,
        }
        for event in page.events
        for hook in hooks
        if event.at >= hook.created_at and hook.takes(event)
    ]
    if owed:
        connection.execute(_OWE, {"rows": json.dumps(owed)})
    place = page.place
    connection.execute(_FED, {"era": place.era, "xid": place.xid, "id": place.id})
    return len(owed)


def check_lease(owner: str, limit: int, lease_s: float) -> None:
    """Raise Invalid unless somebody asks for a lease that ends."""
    if not owner or "\0" in owner or not 1 <= limit <= LARGEST_LEASE:
        raise Invalid(f"a lease needs an owner, and a limit of 1 to {LARGEST_LEASE}", field="owner")
    if not 0 < lease_s <= LONGEST_LEASE_S:
        raise Invalid(f"a lease lasts at most {LONGEST_LEASE_S:g} s", field="lease_s")


def lease(connection: Connection, owner: str, limit: int, lease_s: float) -> list[Errand]:
    """Lease deliveries that are due."""
    found = connection.execute(_LEASE, {"owner": owner, "limit": limit, "lease_s": lease_s})
    return [
        Errand(row["delivery_id"], row["webhook_id"], row["url"], row["secret"], _event(row))
        for row in found.mappings()
    ]


def _event(row: RowMapping) -> EventLine:
    if row["event_id"] is not None:
        return journal.line(row)
    return pinging(row["ping_id"], row["webhook_id"], row["ping_at"])


def pinging(message_id: str, webhook_id: str, at: datetime) -> EventLine:
    """What a ping tells."""
    data = {"webhook_id": webhook_id, "note": "a test: nothing has happened"}
    return EventLine(START, message_id, PING, "", "", 0, at, data)


def settle(connection: Connection, owner: str, tried: Sequence[Tried]) -> int:
    """Take what came of leased deliveries; how many were still the owner's."""
    settled = 0
    # In one order, so that two that settle at once do not wait for each other in a ring.
    for each in sorted(tried, key=lambda one: one.delivery_id):
        words = {"id": each.delivery_id, "owner": owner}
        row = connection.execute(_HELD, words).mappings().one_or_none()
        if row is not None:
            settled += 1
            _settle_one(connection, row, each)
    return settled


def _settle_one(connection: Connection, row: RowMapping, tried: Tried) -> None:
    jitter = random.random()  # noqa: S311 - spreads load, no secret
    verdict = judge(tried, row["tries"] + 1, row["failures"], jitter)
    connection.execute(
        _SETTLED,
        {
            "id": row["id"], "state": verdict.state.value, "status": tried.status,
            "error": storable(tried.error)[:KEPT_RESPONSE],
            "response": storable(tried.response)[:KEPT_RESPONSE],
            "duration_ms": tried.duration_ms, "delay_s": verdict.delay_s,
        },
    )  # fmt: skip
    connection.execute(
        _HEARD,
        {
            "id": row["webhook_id"], "failures": verdict.failures, "rest_s": verdict.rest_s,
            "disabled": verdict.disabled,
        },
    )  # fmt: skip
    about = subscribers.get(connection, row["webhook_id"])
    events = []
    if verdict.state is DeliveryState.DEAD:
        events.append(dead(about, row["id"], row["message_id"], tried))
    if verdict.disabled and row["active"]:
        events.append(
            subscribers.event("disabled", about, row["message_id"], reason=verdict.disabled)
        )
    write(connection, Changes(events=tuple(events)))


def dead(about: Webhook, delivery_id: int, message_id: str, tried: Tried) -> Event:
    """Nobody tries it again."""
    facts = {"delivery_id": delivery_id, "event_id": message_id, "reason": told(tried)[:500]}
    return subscribers.event("delivery_dead", about, message_id, **facts)


def ping(connection: Connection, webhook_id: str) -> Delivery:
    """Owe a delivery that tells of nothing."""
    table = tables.webhook_delivery
    words = {"webhook_id": webhook_id, "message_id": new_message_id(), "type": PING}
    row = connection.execute(insert(table).values(words | _UNTRIED).returning(*table.c))
    return delivery(row.mappings().one())


def get(connection: Connection, webhook_id: str, id_: int) -> Delivery:
    """One delivery. Raises NotFound."""
    table = tables.webhook_delivery
    row = (
        connection.execute(
            select(*table.c).where(
                table.c.id == min(max(id_, 0), 2**63 - 1), table.c.webhook_id == webhook_id
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise missing(webhook_id, id_)
    return delivery(row)


def missing(webhook_id: str, id_: int) -> NotFound:
    """There is no such delivery."""
    return NotFound(
        f"webhook {webhook_id[:80]} has no delivery {id_}: `loom webhook deliveries` shows them"
    )


def check_state(state: str) -> str:
    """The state that a list is filtered by. Raises Invalid."""
    if state and state not in {each.value for each in DeliveryState}:
        raise Invalid(f"there is no state {state!r} of deliveries", field="state")
    return state


def page(
    connection: Connection, webhook_id: str, state: str, size: int, after: str
) -> tuple[tuple[Delivery, ...], str]:
    """Deliveries, newest first, and the next cursor. Raises Invalid."""
    table = tables.webhook_delivery
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).where(table.c.webhook_id == webhook_id)
    if check_state(state):
        statement = statement.where(table.c.state == state)
    if after:
        statement = statement.where(table.c.id < cursor.read(after, int)[0])
    rows = connection.execute(statement.order_by(table.c.id.desc()).limit(size + 1)).mappings()
    found = [delivery(row) for row in rows]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""


def redeliver(connection: Connection, webhook_id: str, id_: int) -> int:
    """Owe one that has ended again, or every dead one; how many. Raises NotFound."""
    table = tables.webhook_delivery
    ended = table.c.state != DeliveryState.PENDING.value
    dead_ones = table.c.state == DeliveryState.DEAD.value
    if id_:
        get(connection, webhook_id, id_)
    return connection.execute(
        update(table)
        .where(table.c.webhook_id == webhook_id, (table.c.id == id_) & ended if id_ else dead_ones)
        .values(
            state=DeliveryState.PENDING.value, tries=0, due_at=func.clock_timestamp(),
            ended_at=None, leased_by=None, leased_until=None,
        )
    ).rowcount  # fmt: skip


def discard(connection: Connection, webhook_id: str, id_: int) -> int:
    """Give a dead one up, or every one; how many. Raises NotFound, IllegalTransition."""
    table = tables.webhook_delivery
    if id_:
        check_discard(get(connection, webhook_id, id_))
    one = table.c.id == id_ if id_ else table.c.id > 0
    return connection.execute(
        update(table)
        .where(table.c.webhook_id == webhook_id, table.c.state == DeliveryState.DEAD.value, one)
        .values(state=DeliveryState.DISCARDED.value)
    ).rowcount


def check_discard(found: Delivery) -> None:
    """Raise IllegalTransition unless it is dead."""
    if found.state not in (DeliveryState.DEAD, DeliveryState.DISCARDED):
        raise IllegalTransition(
            f"delivery {found.id} is {found.state.value}: only a dead one can be discarded",
            state=found.state.value,
        )


def forget(connection: Connection) -> int:
    """Forget what ended long ago; how many."""
    table = tables.webhook_delivery
    aged = text(
        "state <> 'pending' AND ended_at < clock_timestamp() - interval '1 day' * "
        f"CASE state WHEN 'dead' THEN {DEAD_KEPT_DAYS} ELSE {ENDED_KEPT_DAYS} END"
    )
    old = select(table.c.id).where(aged).limit(1_000)
    return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount


def delivery(row: RowMapping) -> Delivery:
    """A row."""
    words = {
        name: row[name]
        for name in (
            "id", "webhook_id", "type", "tries", "created_at", "due_at", "status", "error",
            "response", "duration_ms", "tried_at", "ended_at",
        )
    }  # fmt: skip
    return Delivery(**words, event_id=row["message_id"], state=DeliveryState(row["state"]))
