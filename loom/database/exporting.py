"""Exports: beads with where they came from and what was said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, literal, or_, select, tuple_

from loom.database import beads, cursor, projects, rows, tables
from loom.database.comments import COLUMNS
from loom.domain.bead import Bead
from loom.domain.comment import Comment
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Origin, Source

PAGE, LARGEST_PAGE = 200, 500
LARGEST_ANSWER = 6 * 1024 * 1024
"""Characters of words in one page: what does not fit goes on the next."""


def origins_named(
    connection: Connection, project_id: str, source: Source, ids: Sequence[str]
) -> list[Origin]:
    """Where beads came from that have these ids there, or that wait for one of them to come."""
    o = tables.origin.c
    found = connection.execute(
        select(*o).where(
            o.project_id == project_id,
            o.source == source.value,
            or_(o.external_id.in_(ids), o.pending.overlap(list(ids))),
        )
    )
    return [_origin(row) for row in found.mappings()]


def origin(connection: Connection, bead_id: str) -> Origin | None:
    """Where a bead came from; None if it was filed here. Raises NotFound."""
    beads.get(connection, bead_id)
    o = tables.origin.c
    row = connection.execute(select(*o).where(o.bead_id == bead_id)).mappings().one_or_none()
    return _origin(row) if row else None


def views(connection: Connection, ids: Sequence[str]) -> list[View]:
    """The beads of these ids that there are, with all that is said of them."""
    b = tables.bead.c
    found = connection.execute(select(*b).where(b.id.in_(ids)).order_by(b.id)).mappings()
    return _views(connection, [rows.bead(row) for row in found])


def page(connection: Connection, project_id: str, size: int, after: str) -> tuple[list[View], str]:
    """A project's beads, oldest first, and the next cursor. Raises NotFound, Invalid."""
    b = tables.bead.c
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*b).where(b.project_id == project_id).order_by(b.created_at, b.id)
    if after:
        place = tuple_(*map(literal, cursor.read_moment(after)))
        statement = statement.where(tuple_(b.created_at, b.id) > place)
    found = [rows.bead(row) for row in connection.execute(statement.limit(size + 1)).mappings()]
    if not found:
        projects.get(connection, project_id)
    told: list[View] = []
    room = LARGEST_ANSWER
    for view in _views(connection, found[:size]):
        room -= _size(view)
        if told and room < 0:
            break
        told.append(view)
    more = len(told) < len(found)
    last = told[-1].bead if told else None
    return told, cursor.write_moment(last.created_at, last.id) if more and last else ""


def _size(view: View) -> int:
    size = len(view.bead.description) + len(str(view.bead.context))
    size += sum(len(each.text) for each in view.comments)
    return size + (len(str(view.origin.record)) if view.origin else 0)


def _views(connection: Connection, found: Sequence[Bead]) -> list[View]:
    ids = [bead.id for bead in found]
    o, c = tables.origin.c, tables.comment.c
    linked = {id_ for bead in found for id_ in (*bead.blocked_by, bead.parent) if id_}
    origins = {
        row["bead_id"]: _origin(row)
        for row in connection.execute(select(*o).where(o.bead_id.in_(ids))).mappings()
    }
    names: dict[str, tuple[str, str]] = {
        row.bead_id: (row.source, row.external_id)
        for row in connection.execute(
            select(o.bead_id, o.source, o.external_id).where(o.bead_id.in_(linked))
        )
    }
    said: dict[str, list[Comment]] = {}
    for row in connection.execute(
        select(*COLUMNS).where(c.bead_id.in_(ids)).order_by(c.created_at, c.id)
    ).mappings():
        said.setdefault(row["bead_id"], []).append(Comment(**row))
    return [
        View(
            bead,
            tuple(said.get(bead.id, ())),
            origins.get(bead.id),
            named((*bead.blocked_by, bead.parent), names, origins.get(bead.id)),
        )
        for bead in found
    ]


def named(
    linked: Iterable[str], names: dict[str, tuple[str, str]], origin: Origin | None
) -> dict[str, str]:
    """What beads are called in the source of an origin, of those that came from there too."""
    if origin is None:
        return {}
    return {
        id_: names[id_][1]
        for id_ in linked
        if id_ in names and names[id_][0] == origin.source.value
    }


def _origin(row: Any) -> Origin:
    return Origin(**dict(row) | {"source": Source(row["source"]), "pending": tuple(row["pending"])})
