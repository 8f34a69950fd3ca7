"""Dead letters in the ledger: recorded, read, grouped, and the beads they block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, text
from sqlalchemy.dialects.postgresql import insert

from loom.database import cursor, decisions, letter_events, rows, tables
from loom.database.changes import Changes
from loom.database.filing import storable
from loom.database.writing import write
from loom.domain.replay import LetterGroup, LetterState
from loom.errors import Invalid, NotFound
from loom.messaging.deadletter import MAX_KEPT_BYTES, MAX_LISTED_BYTES, DeadLetter
from loom.messaging.result import MAX_EPOCH
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb

PAGE, LARGEST_PAGE = 50, 100
LARGEST_GROUP_PAGE = 500
_TEXTS = (
    "message_id", "queue", "project_id", "bead_id", "reason", "detail", "correlation_id",
    "headers", "deaths", "fingerprint", "content_type",
)  # fmt: skip
_RECORDED = (*_TEXTS, "epoch", "body", "size", "cut")

# The newest letter of a group is its example; `place` is where the next page begins.
_GROUPS = text(
    """
    SELECT g.fingerprint, e.project_id, e.queue, e.reason, e.detail, g.count, g.open,
           g.first_at, e.recorded_at AS last_at, g.place AS example_id
      FROM (SELECT fingerprint, count(*) AS count, count(*) FILTER (WHERE state = 'open') AS open,
                   min(recorded_at) AS first_at, max(id) AS place
              FROM dead_letter
             WHERE (:project_id = '' OR project_id = :project_id)
               AND (:anywhere OR project_id = ANY(:project_ids))
             GROUP BY fingerprint
            HAVING :state = '' OR count(*) FILTER (WHERE state = :state) > 0) AS g
      JOIN dead_letter e ON e.id = g.place
     WHERE g.place < :before
     ORDER BY g.place DESC
     LIMIT :limit
    """
)


def from_pb(letter: pb.DeadLetter) -> DeadLetter:
    """A dead letter as it comes over gRPC from a consumer, as it can be stored."""
    read = codec.dead_letter_from_pb(letter)
    texts: dict[str, Any] = {name: storable(getattr(read, name)) for name in _TEXTS}
    return replace(
        read,
        **texts,
        body=read.body[:MAX_KEPT_BYTES],
        size=min(max(read.size, len(read.body)), 2**62),
        epoch=min(read.epoch, MAX_EPOCH),
        cut=read.cut or len(read.body) > MAX_KEPT_BYTES,
        id=0,
        state=LetterState.OPEN,
        settled_at=None,
        settled_by="",
        note="",
    )


def record(connection: Connection, letters: Sequence[DeadLetter]) -> tuple[int, int]:
    """Record letters, each once; how many were new, and how many beads they blocked."""
    if not letters:
        return 0, 0
    table = tables.dead_letter
    unique = {(letter.message_id, letter.queue): letter for letter in letters}
    new = {
        (row.message_id, row.queue): row.id
        for row in connection.execute(
            insert(table)
            .values([{c: getattr(letter, c) for c in _RECORDED} for letter in unique.values()])
            .on_conflict_do_nothing()
            .returning(table.c.message_id, table.c.queue, table.c.id)
        )
    }
    fresh = [letter for key, letter in unique.items() if key in new]
    ids = sorted({letter.bead_id for letter in fresh if letter.bead_id})
    standings = rows.lock_standings(connection, ids) if ids else {}
    changes = Changes()
    for letter in fresh:
        decided = decisions.dead(standings.get(letter.bead_id), letter)
        for move in decided.moved:
            standings[move.id] = replace(standings[move.id], state=move.state, running=None)
        arrived = letter_events.recorded(letter, new[letter.message_id, letter.queue])
        changes += Changes(events=(arrived,)) + decided
    write(connection, changes)
    return len(fresh), len(changes.moved)


def letter(row: RowMapping) -> DeadLetter:
    """A row of the table dead_letter; where it has no column body, without one."""
    values = {name: row[name] for name in (*_TEXTS, "epoch", "size", "cut", "id", "recorded_at")}
    return DeadLetter(
        **values,
        body=bytes(row["body"]) if "body" in row else b"",
        state=LetterState(row["state"]),
        settled_at=row["settled_at"],
        settled_by=row["settled_by"],
        note=row["note"],
    )


def get(connection: Connection, letter_id: int, *, lock: bool = False) -> DeadLetter:
    """One letter with all that is kept of its body. Raises NotFound."""
    table = tables.dead_letter
    statement = select(*table.c).where(table.c.id == min(letter_id, 2**63 - 1))
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise missing(letter_id)
    return letter(row)


def missing(letter_id: int) -> NotFound:
    """The error for a letter that is not there."""
    return NotFound(f"there is no dead letter {letter_id}", letter_id=str(letter_id))


def check_state(state: str) -> str:
    """The state that a list is filtered by; raises Invalid if there is none such."""
    if state and state not in {each.value for each in LetterState}:
        raise Invalid(f"there is no state {state!r} of dead letters", field="state")
    return state


def page(
    connection: Connection,
    project_id: str,
    size: int,
    after: str,
    *,
    state: str = "",
    fingerprint: str = "",
    project_ids: Sequence[str] = (),
) -> tuple[tuple[DeadLetter, ...], str]:
    """Dead letters with the beginnings of their bodies, newest first, and the next cursor.

    project_ids: only of these projects, if any.
    """
    table = tables.dead_letter
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    columns = [c for c in table.c if c.name != "body"]
    listed = func.substring(table.c.body, 1, MAX_LISTED_BYTES).label("body")
    statement = select(*columns, listed).order_by(table.c.id.desc()).limit(size + 1)
    if project_id:
        statement = statement.where(table.c.project_id == project_id)
    if project_ids:
        statement = statement.where(table.c.project_id == func.any(list(project_ids)))
    if check_state(state):
        statement = statement.where(table.c.state == state)
    if fingerprint:
        statement = statement.where(table.c.fingerprint == fingerprint)
    if after:
        statement = statement.where(table.c.id < cursor.read(after, int)[0])
    found = [letter(row) for row in connection.execute(statement).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""


def groups(
    connection: Connection,
    project_id: str,
    state: str,
    size: int,
    after: str,
    *,
    project_ids: Sequence[str] = (),
) -> tuple[tuple[LetterGroup, ...], str]:
    """Groups, the one with the newest letter first, and the next cursor. Raises Invalid."""
    size = cursor.page_size(size, PAGE, LARGEST_GROUP_PAGE)
    asked = {
        "project_id": project_id,
        "anywhere": not project_ids,
        "project_ids": list(project_ids),
        "state": check_state(state),
        "before": cursor.read(after, int)[0] if after else 2**63 - 1,
        "limit": size + 1,
    }
    found = [LetterGroup(**row) for row in connection.execute(_GROUPS, asked).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].example_id) if more else ""
