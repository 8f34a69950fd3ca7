"""Copies of letters on the broker that nobody needs any more, once they are dealt with."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, text, update

from loom.database import tables
from loom.rpc.v1 import database_pb2 as pb

TRIES = 10
"""How often a copy is looked for and not found before it counts as gone: another may hold it."""
LARGEST = 500


def sweepable(connection: Connection, limit: int) -> tuple[pb.SweepableLetter, ...]:
    """Letters that are dealt with and whose copy may still stand on the broker, oldest first."""
    table = tables.dead_letter
    found = connection.execute(
        select(table.c.id, table.c.message_id, table.c.queue, table.c.project_id)
        .where(table.c.state != "open", ~table.c.swept)
        .order_by(table.c.id)
        .limit(min(limit or LARGEST, LARGEST))
    ).mappings()
    return tuple(pb.SweepableLetter(**row) for row in found)


_MISSED = text(
    "UPDATE dead_letter SET sweep_tries = sweep_tries + 1, swept = sweep_tries + 1 >= :tries "
    "WHERE id = ANY(:ids) AND NOT swept"
)


def settle(connection: Connection, gone: Sequence[int], missing: Sequence[int]) -> None:
    """Note which copies were taken from the broker, and which were not found."""
    table = tables.dead_letter
    if gone:
        connection.execute(update(table).where(table.c.id.in_(gone)).values(swept=True))
    if missing:
        connection.execute(_MISSED, {"ids": list(missing), "tries": TRIES})
