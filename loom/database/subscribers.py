"""Webhooks as their rows are, and what is told of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from loom.database import tables
from loom.database.changes import Event
from loom.database.filing import check_text
from loom.domain.webhook import Webhook
from loom.errors import NotFound

_COUNTED = text(
    """
    SELECT w.*, (SELECT count(*) FROM webhook_delivery d
                  WHERE d.webhook_id = w.id AND d.state = 'pending') AS pending,
           (SELECT count(*) FROM webhook_delivery d
             WHERE d.webhook_id = w.id AND d.state = 'dead') AS dead
      FROM webhook w
     WHERE :id = '' OR w.id = :id
     ORDER BY w.created_at, w.id
    """
)
_WORDS = (
    "id", "url", "project_id", "active", "reason", "failures", "created_by", "created_at",
    "updated_at", "resting_until", "last_ok_at",
)  # fmt: skip


def get(connection: Connection, id_: str) -> Webhook:
    """One webhook. Raises NotFound."""
    if not id_:
        raise missing(id_)
    row = connection.execute(_COUNTED, {"id": check_text(id_, "id")}).mappings().one_or_none()
    if row is None:
        raise missing(id_)
    return webhook(row)


def every(connection: Connection) -> tuple[Webhook, ...]:
    """All of them, in the order in which they were made."""
    return tuple(map(webhook, connection.execute(_COUNTED, {"id": ""}).mappings()))


def active(connection: Connection) -> list[Webhook]:
    """Those that are told of what happens; their deliveries are not counted."""
    table = tables.webhook
    found = connection.execute(select(table).where(table.c.active).order_by(table.c.id))
    return [webhook(row) for row in found.mappings()]


def missing(id_: str) -> NotFound:
    """There is no such webhook."""
    return NotFound(f"there is no webhook {id_[:80]}: `loom webhook list` shows them")


def webhook(row: RowMapping) -> Webhook:
    """A row; the secret stays where it is."""
    return Webhook(
        **{name: row[name] for name in _WORDS},
        types=tuple(row["types"]),
        pending=row.get("pending", 0),
        dead=row.get("dead", 0),
    )


def event(what: str, about: Webhook, correlation_id: str, **facts: Any) -> Event:
    """What is told of a webhook; of its URL the host alone."""
    data = {"webhook_id": about.id, "host": about.host, **facts}
    return Event(f"webhook.{what}", about.project_id, "", 0, data, correlation_id)
