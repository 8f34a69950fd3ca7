"""Dead letters in the ledger, and the beads they block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from loom.database import cursor, decisions, rows, tables
from loom.database.changes import Changes
from loom.database.filing import storable
from loom.database.writing import write
from loom.messaging.deadletter import MAX_KEPT_BYTES, DeadLetter
from loom.messaging.result import MAX_EPOCH
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb

PAGE, LARGEST_PAGE = 50, 100
_TEXTS = (
    "message_id", "queue", "project_id", "bead_id", "reason", "detail", "correlation_id",
    "headers", "deaths", "fingerprint",
)  # fmt: skip


def from_pb(letter: pb.DeadLetter) -> DeadLetter:
    """A dead letter as it comes over gRPC, as it can be stored."""
    read = codec.dead_letter_from_pb(letter)
    texts: dict[str, Any] = {name: storable(getattr(read, name)) for name in _TEXTS}
    return replace(read, **texts, body=read.body[:MAX_KEPT_BYTES], epoch=min(read.epoch, MAX_EPOCH))


def record(connection: Connection, letters: Sequence[DeadLetter]) -> tuple[int, int]:
    """Record letters, each once; how many were new, and how many beads they blocked."""
    if not letters:
        return 0, 0
    table = tables.dead_letter
    columns = [c.name for c in table.c if c.name not in ("id", "recorded_at")]
    unique = {(letter.message_id, letter.queue): letter for letter in letters}
    new = {
        (row.message_id, row.queue)
        for row in connection.execute(
            insert(table)
            .values([{c: getattr(letter, c) for c in columns} for letter in unique.values()])
            .on_conflict_do_nothing()
            .returning(table.c.message_id, table.c.queue)
        )
    }
    fresh = [letter for key, letter in unique.items() if key in new]
    ids = sorted({letter.bead_id for letter in fresh if letter.bead_id})
    standings = rows.lock_standings(connection, ids) if ids else {}
    changes = Changes()
    for letter in fresh:
        decided = decisions.dead(standings.get(letter.bead_id), letter)
        for move in decided.moved:
            standings[move.id] = replace(standings[move.id], state=move.state)
        changes += decided
    write(connection, changes)
    return len(fresh), len(changes.moved)


def page(
    connection: Connection, project_id: str, size: int, after: str
) -> tuple[tuple[pb.DeadLetter, ...], str]:
    """Dead letters, newest first, and the next cursor. Raises Invalid."""
    table = tables.dead_letter
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).order_by(table.c.id.desc()).limit(size + 1)
    if project_id:
        statement = statement.where(table.c.project_id == project_id)
    if after:
        statement = statement.where(table.c.id < cursor.read(after, int)[0])
    found: list[pb.DeadLetter] = []
    for row in connection.execute(statement).mappings():
        values = {name: row[name] for name in row if name not in ("body", "recorded_at")}
        found.append(
            pb.DeadLetter(
                **values,
                body=bytes(row["body"]),
                recorded_at=codec.stamp(row["recorded_at"]),
            )
        )
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""
