"""Dead letters that are dealt with: replayed or discarded, one at a time or with their bead."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from loom.database import (
    audit,
    beads,
    deadletters,
    interventions,
    letter_events,
    rows,
    tables,
)
from loom.database.changes import Changes, Standing
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.bead import Bead
from loom.domain.identity import new_message_id
from loom.domain.replay import LetterState
from loom.errors import IllegalTransition
from loom.messaging.deadletter import DeadLetter

_SETTLE = text(
    """
    UPDATE dead_letter SET state = :state, settled_at = clock_timestamp(), settled_by = :actor,
                           note = :note
     WHERE id = ANY(:ids) AND state = 'open'
    RETURNING id, project_id, bead_id, epoch, queue, reason, fingerprint, correlation_id
    """
)
_SETTLE_OF_BEADS = text(
    """
    UPDATE dead_letter SET state = :state, settled_at = clock_timestamp(), settled_by = :actor,
                           note = :note
     WHERE bead_id = ANY(:beads) AND state = 'open'
    RETURNING id, project_id, bead_id, epoch, queue, reason, fingerprint, correlation_id
    """
)


@dataclass(frozen=True, slots=True)
class Step:
    """What replaying some letters did. messages: the fresh message id of each published again.

    why: why the last one refused was.
    """

    replayed: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    why: str = ""
    messages: Mapping[int, str] = field(default_factory=dict)


def cancel(connection: Connection, bead_id: str, by: Intervention) -> Bead:
    """Give a bead up, with its dead letters; the bead then. Raises NotFound, IllegalTransition."""
    standing = _lock(connection, bead_id)
    before = beads.get(connection, bead_id)
    changes = interventions.cancel(standing, before.resolution, by)
    if not changes:
        return before
    write(connection, changes)
    settle_of_beads(connection, [bead_id], LetterState.DISCARDED, by)
    audit.note(connection, by, "bead.cancel", bead_id, {"was": standing.state.value})
    return beads.get(connection, bead_id)


def unblock(connection: Connection, bead_id: str, by: Intervention) -> Bead:
    """Let a blocked bead go on; the bead then. Raises NotFound, IllegalTransition."""
    standing = _lock(connection, bead_id)
    changes = interventions.unblock(standing, by)
    if changes:
        write(connection, changes)
        settle_of_beads(connection, [bead_id], LetterState.REPLAYED, by)
        audit.note(connection, by, "bead.unblock", bead_id, {"blocked_by": standing.reason})
    return beads.get(connection, bead_id)


def _lock(connection: Connection, bead_id: str) -> Standing:
    standing = rows.lock_standings(connection, [bead_id]).get(bead_id)
    if standing is None:
        raise beads.missing(bead_id)
    return standing


def replay_one(
    connection: Connection, letter_id: int, by: Intervention, *, dry_run: bool
) -> DeadLetter:
    """Send one letter on its way again; as it is then. Raises NotFound, IllegalTransition."""
    letter = deadletters.get(connection, letter_id, lock=not dry_run)
    step = replay(connection, [letter], by, dry_run=dry_run)
    if step.refused:
        raise IllegalTransition(step.why, letter_id=str(letter_id), state=letter.state.value)
    if dry_run:
        return letter
    audit.note(connection, by, "dead_letter.replay", str(letter_id), facts(letter))
    return deadletters.get(connection, letter_id)


def discard_one(
    connection: Connection, letter_id: int, by: Intervention, *, dry_run: bool
) -> DeadLetter:
    """Give one letter up; as it is then. Raises NotFound, IllegalTransition."""
    letter = deadletters.get(connection, letter_id, lock=not dry_run)
    check_discard(letter)
    if dry_run or letter.state is LetterState.DISCARDED:
        return letter
    _settle(connection, [letter_id], LetterState.DISCARDED, by)
    audit.note(connection, by, "dead_letter.discard", str(letter_id), facts(letter))
    return deadletters.get(connection, letter_id)


def check_discard(letter: DeadLetter) -> None:
    """Raise IllegalTransition for a letter that was replayed: it is gone already."""
    if letter.state is LetterState.REPLAYED:
        raise IllegalTransition(
            f"dead letter {letter.id} was replayed by {letter.settled_by}: there is nothing to "
            "discard",
            letter_id=str(letter.id),
            state=letter.state.value,
        )


def matching(connection: Connection, fingerprint: str) -> int:
    """How many letters of a group are open."""
    table = tables.dead_letter
    return connection.execute(
        select(func.count()).where(table.c.fingerprint == fingerprint, table.c.state == "open")
    ).scalar_one()


def discard_group(connection: Connection, fingerprint: str, by: Intervention) -> int:
    """Give up every open letter of a group; how many."""
    table = tables.dead_letter
    projects = Counter(
        connection.execute(
            update(table)
            .where(table.c.fingerprint == fingerprint, table.c.state == "open")
            .values(
                state=LetterState.DISCARDED.value,
                settled_at=func.clock_timestamp(),
                settled_by=by.actor,
                note=by.reason,
            )
            .returning(table.c.project_id)
        ).scalars()
    )
    told = (
        letter_events.group_discarded(project_id, fingerprint, letters, by)
        for project_id, letters in projects.items()
    )
    write(connection, Changes(events=tuple(told)))
    count = projects.total()
    if count:
        audit.note(connection, by, "dead_letters.discard", fingerprint, {"letters": count})
    return count


def replay(
    connection: Connection,
    letters: Sequence[DeadLetter],
    by: Intervention,
    *,
    dry_run: bool = False,
) -> Step:
    """Send letters, which are locked, on their way again; what came of each."""
    ids = sorted({letter.bead_id for letter in letters if letter.bead_id})
    standings = rows.lock_standings(connection, ids) if ids else {}
    changes = Changes()
    done: list[DeadLetter] = []
    refused: list[int] = []
    published: dict[int, str] = {}
    freed: list[str] = []
    why = ""
    for letter in letters:
        if letter.bead_id in freed:
            done.append(letter)
            continue
        decided = interventions.replay(letter, standings.get(letter.bead_id), by)
        if decided.refused:
            refused.append(letter.id)
            why = decided.refused
            continue
        done.append(letter)
        changes += decided.changes
        for move in decided.changes.moved:
            standings[move.id] = replace(standings[move.id], state=move.state)
            freed.append(move.id)
        if decided.publish:
            published[letter.id] = new_message_id()
    if not dry_run and done:
        write(connection, changes)
        _publish(connection, published)
        _settle(connection, [each.id for each in done], LetterState.REPLAYED, by)
        if freed:
            settle_of_beads(connection, freed, LetterState.REPLAYED, by)
    return Step(tuple(each.id for each in done), tuple(refused), why, published)


# The body stays where it is until the row is leased.
_OWE = text(
    """
    INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, correlation_id,
                        payload, available_at)
    SELECT 'replay', 'dead_letter.replayed', r.message_id, d.project_id, d.bead_id, d.epoch,
           d.correlation_id, jsonb_build_object('letter_id', d.id), clock_timestamp()
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id bigint, message_id text)
      JOIN dead_letter d ON d.id = r.id
     ORDER BY d.id
    """
)


def _publish(connection: Connection, message_ids: dict[int, str]) -> None:
    if message_ids:
        rows_ = [{"id": id_, "message_id": message} for id_, message in message_ids.items()]
        connection.execute(_OWE, {"rows": json.dumps(rows_)})


def _settle(
    connection: Connection, ids: Sequence[int], state: LetterState, by: Intervention
) -> None:
    words = {"ids": list(ids), "state": state.value, "actor": by.actor, "note": by.reason}
    _tell(connection, connection.execute(_SETTLE, words), state, by)


def settle_of_beads(
    connection: Connection, bead_ids: Sequence[str], state: LetterState, by: Intervention
) -> None:
    words = {"beads": list(bead_ids), "state": state.value, "actor": by.actor, "note": by.reason}
    _tell(connection, connection.execute(_SETTLE_OF_BEADS, words), state, by)


def _tell(
    connection: Connection, settled: Iterable[Any], state: LetterState, by: Intervention
) -> None:
    events = tuple(letter_events.settled(row, state, by) for row in settled)
    write(connection, Changes(events=events))


def facts(letter: DeadLetter) -> dict[str, str]:
    """What the audit tells of a letter."""
    return {
        "message_id": letter.message_id,
        "queue": letter.queue,
        "bead_id": letter.bead_id,
        "reason": letter.reason,
        "fingerprint": letter.fingerprint,
    }


def open_letters(
    connection: Connection, fingerprint: str, after: int, to: int, limit: int
) -> list[DeadLetter]:
    """Open letters of a group in their order, locked, without their bodies."""
    table = tables.dead_letter
    found = connection.execute(
        select(*[c for c in table.c if c.name != "body"])
        .where(
            table.c.fingerprint == fingerprint,
            table.c.state == "open",
            table.c.id > after,
            table.c.id <= to,
        )
        .order_by(table.c.id)
        .limit(limit)
        .with_for_update()
    ).mappings()
    return [deadletters.letter(row) for row in found]
