"""Beads that wait for others: checked when they are filed, let go when the last has succeeded.

A bead waits for the beads it names and for its children. It is gated while one of them has not
succeeded, or while a person has taken it, in its own row and in that of its owed message. Whoever
changes that holds the lock of the waiting bead's row and looks at the others afterwards, so that of
two blockers that succeed at once the later one lets it go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from loom.domain.bead import NewBead
from loom.domain.blockers import check_no_cycle
from loom.domain.lifecycle import Resolution, State, lets_go
from loom.errors import IllegalTransition, Invalid

GRAPH_LOCK = 4_107_482_650_119
"""New links are made one transaction at a time: two that are no circle apart could be one."""

_LOCK_GRAPH = text(f"SELECT pg_advisory_xact_lock({GRAPH_LOCK})")

_LOCK = text(
    """
    SELECT id, state, resolution FROM bead WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
    """
)

# Whoever waits for a bead that has ended well or badly waits for nothing behind it.
_REACHED = text(
    """
    WITH RECURSIVE edge (waiting, blocker) AS (
        SELECT b.id, x.id FROM bead b, LATERAL (
               SELECT unnest(b.blocked_by) UNION ALL
               SELECT c.id FROM bead c WHERE c.parent = b.id AND c.parent <> '') AS x (id)
         WHERE b.id = ANY(:ids) AND b.state <> 'closed'
        UNION
        SELECT b.id, x.id FROM edge JOIN bead b ON b.id = edge.blocker, LATERAL (
               SELECT unnest(b.blocked_by) UNION ALL
               SELECT c.id FROM bead c WHERE c.parent = b.id AND c.parent <> '') AS x (id)
         WHERE b.state <> 'closed'
    )
    SELECT waiting, blocker FROM edge
    """
)

_WAITING = text(
    """
    SELECT id FROM bead
     WHERE gated AND id IN (
           SELECT id FROM bead WHERE gated AND blocked_by && CAST(:ids AS text[])
           UNION ALL
           SELECT parent FROM bead WHERE id = ANY(:ids) AND parent <> '')
     ORDER BY id FOR NO KEY UPDATE
    """
)

_REGATE = text(
    """
    WITH looked AS (
        SELECT b.id, (b.assignee <> ''
               OR EXISTS (SELECT FROM bead k WHERE k.id = ANY(b.blocked_by)
                          AND coalesce(k.resolution, '') NOT IN ('succeeded', 'recorded'))
               OR EXISTS (SELECT FROM bead c WHERE c.parent = b.id AND c.parent <> ''
                             AND coalesce(c.resolution, '') NOT IN ('succeeded', 'recorded'))
               ) AS gated
          FROM bead b WHERE b.id = ANY(:ids)
    ), beads AS (
        UPDATE bead b SET gated = looked.gated FROM looked
         WHERE b.id = looked.id AND b.gated <> looked.gated
    )
    UPDATE outbox o SET gated = looked.gated FROM looked
     WHERE o.kind = 'task' AND o.bead_id = looked.id AND o.gated <> looked.gated
    """
)


@dataclass(frozen=True, slots=True)
class Known:
    """A bead that another is to be linked with."""

    state: State
    resolution: Resolution | None


def linked(beads: Iterable[NewBead]) -> bool:
    """Whether any of them waits for another, or lets one wait."""
    return any(bead.blocked_by or bead.parent for bead in beads)


def outside(beads: Sequence[NewBead]) -> list[str]:
    """The ids that they name and that are not among them."""
    own = {bead.id for bead in beads}
    named = {id_ for bead in beads for id_ in (*bead.blocked_by, bead.parent) if id_}
    return sorted(named - own)


def check(beads: Sequence[NewBead], known: Mapping[str, Known]) -> None:
    """Raise Invalid for an id that nobody has, IllegalTransition for a parent that has begun."""
    own = {bead.id for bead in beads}
    for bead in beads:
        for field, ids in (("blocked_by", bead.blocked_by), ("parent", (bead.parent,))):
            for id_ in ids:
                if id_ and id_ not in own and id_ not in known:
                    raise Invalid(
                        f"bead {bead.id} names {id_} in {field}, and there is no such bead: file "
                        "that one first, or in the same request",
                        field=field,
                        bead_id=id_,
                    )
        if bead.parent in known:
            check_parent(bead.id, bead.parent, known[bead.parent])


def check_parent(child: str, parent: str, known: Known) -> None:
    """Raise IllegalTransition unless the parent can still wait for a child."""
    if known.state not in (State.OPEN, State.BLOCKED):
        raise IllegalTransition(
            f"bead {parent} is {known.state.value}: it cannot wait for {child} any more, which is "
            "what a parent does. Leave the parent out",
            bead_id=parent,
            state=known.state.value,
        )


def links(beads: Iterable[NewBead]) -> dict[str, list[str]]:
    """What each bead waits for: those that it names, and its children."""
    found: dict[str, list[str]] = defaultdict(list)
    for bead in beads:
        found[bead.id] += bead.blocked_by
        if bead.parent:
            found[bead.parent].append(bead.id)
    return found


def check_circles(beads: Sequence[NewBead], reached: Iterable[tuple[str, str]]) -> None:
    """Raise Invalid if the beads would wait for themselves; reached: links that are there."""
    waits_for = links(beads)
    begin = sorted(waits_for)
    for waiting, blocker in reached:
        waits_for[waiting].append(blocker)
    check_no_cycle(waits_for, begin)


def gated(beads: Sequence[NewBead], known: Mapping[str, Known]) -> frozenset[str]:
    """Which of the beads cannot start yet."""
    return frozenset(
        bead
        for bead, blockers in links(beads).items()
        if any(id_ not in known or not lets_go(known[id_].resolution) for id_ in blockers)
    )


def lock(connection: Connection, ids: Sequence[str]) -> dict[str, Known]:
    """The beads of these ids that exist, locked, and with them the making of new links."""
    connection.execute(_LOCK_GRAPH)
    return lock_beads(connection, ids) if ids else {}


def lock_beads(connection: Connection, ids: Sequence[str]) -> dict[str, Known]:
    """The beads of these ids that exist, locked in the order of their ids."""
    return {
        row.id: Known(State(row.state), Resolution(row.resolution) if row.resolution else None)
        for row in connection.execute(_LOCK, {"ids": list(ids)})
    }


def reached(connection: Connection, ids: Collection[str]) -> list[tuple[str, str]]:
    """Every link that leads on from these beads, as (who waits, for whom)."""
    found = connection.execute(_REACHED, {"ids": list(ids)})
    return [(row.waiting, row.blocker) for row in found]


def prepare(connection: Connection, beads: Sequence[NewBead]) -> frozenset[str]:
    """Check the links of beads that are to be filed, and lock what they name; which are gated.

    Raises Invalid (unknown ids, circles) and IllegalTransition (a parent that has begun).
    """
    if not linked(beads):
        return frozenset()
    named = outside(beads)
    known = lock(connection, named)
    check(beads, known)
    check_circles(beads, reached(connection, named))
    return gated(beads, known)


def release(connection: Connection, succeeded: Sequence[str]) -> None:
    """Let go, in this transaction, whoever waited for these beads and for nothing else."""
    if succeeded:
        waiting = connection.execute(_WAITING, {"ids": list(succeeded)}).scalars().all()
        regate(connection, waiting)


def regate(connection: Connection, ids: Sequence[str]) -> None:
    """Look again whether these beads, whose locks are held, have to wait."""
    if ids:
        connection.execute(_REGATE, {"ids": list(ids)})
