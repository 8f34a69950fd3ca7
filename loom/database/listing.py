"""Lists of beads: filtered, in one of six orders, page by page.

Each order has an index that a page is read from, and each filter that few beads pass has one of
its own; the planner takes whichever is cheaper.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from loom.database import cursor, rows, tables
from loom.database.filing import check_priority, check_text
from loom.domain.bead import Bead
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import MAX_TEXT, BeadFilter, BeadSort
from loom.errors import Invalid
from loom.rpc import desk
from loom.rpc.v1 import database_pb2 as pb

PAGE, LARGEST_PAGE = 50, 500
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of contexts in one page: what does not fit goes on the next."""
MAX_PROJECTS = 1_000

_B = tables.bead.c
_CREATED, _UPDATED = (_B.created_at, _B.id), (_B.updated_at, _B.id)
_PRIORITY = (_B.priority, _B.created_at, _B.id)
_ORDERS: dict[BeadSort, tuple[ColumnElement[Any], ...]] = {
    BeadSort.NEWEST: _CREATED,
    BeadSort.OLDEST: _CREATED,
    BeadSort.LATEST: _UPDATED,
    BeadSort.STALEST: _UPDATED,
    BeadSort.FIRST: _PRIORITY,
    BeadSort.LAST: _PRIORITY,
}


def page(
    connection: Connection, where: BeadFilter, sort: BeadSort, size: int, after: str
) -> tuple[tuple[Bead, ...], str]:
    """Some beads, and the next cursor. Raises Invalid (cursor, size, filter)."""
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    check(where)
    query = statement(where, sort, size + 1, place(after, sort) if after else None)
    found: list[Bead] = []
    room = LARGEST_ANSWER
    more = False
    for row in connection.execute(query).mappings():
        bead = rows.bead(row)
        room -= len(json.dumps(row["context"])) + len(bead.description) * 4
        if found and (len(found) == size or room < 0):
            more = True
            break
        found.append(bead)
    return tuple(found), cursor_after(found[-1], sort) if more else ""


def ids(connection: Connection, where: BeadFilter, most: int) -> list[str]:
    """The ids of the oldest of them."""
    check(where)
    query = statement(where, BeadSort.OLDEST, most)
    return [row["id"] for row in connection.execute(query).mappings()]


def asked(request: pb.ListBeadsRequest) -> BeadFilter:
    """Which beads a request lists."""
    where = desk.filter_from_pb(request.filter)
    if request.project_id and where.projects and request.project_id not in where.projects:
        raise Invalid("project_id is none of the filter's", field="project_id")
    return replace(
        where,
        projects=(request.project_id,) if request.project_id else where.projects,
        states=tuple(request.states) or where.states,
        resolution=request.resolution or where.resolution,
    )


def statement(
    where: BeadFilter, sort: BeadSort, limit: int, after: tuple[Any, ...] | None = None
) -> Select[Any]:
    """The statement. Where an index has each project in the order, each is read by itself."""
    order = [each.desc() if sort.falling else each.asc() for each in _ORDERS[sort]]
    one = select(*tables.bead.c).where(*_conditions(where)).order_by(*order).limit(limit)
    if after is not None:
        key, mark = tuple_(*_ORDERS[sort]), tuple_(*map(literal, after))
        one = one.where(key < mark if sort.falling else key > mark)
    if not where.projects:
        return one
    if len(where.projects) == 1:
        return one.where(_B.project_id == where.projects[0])
    if sort not in (BeadSort.NEWEST, BeadSort.OLDEST):
        return one.where(_B.project_id.in_(where.projects))
    projects = func.unnest(literal(list(where.projects), ARRAY(Text)))
    asked = projects.table_valued("id", name="asked").render_derived()
    each_one = one.where(_B.project_id == asked.c.id).lateral("each_one")
    names = [column.name for column in _ORDERS[sort]]
    keys = [each_one.c[name] for name in names]
    return (
        select(*each_one.c)
        .select_from(asked)
        .join(each_one, literal(value=True))
        .order_by(*(key.desc() if sort.falling else key.asc() for key in keys))
        .limit(limit)
    )


def _conditions(where: BeadFilter) -> list[ColumnElement[bool]]:
    """What a bead has to be, but for its project."""
    a = tables.attempt.c
    found: list[ColumnElement[bool]] = []
    if where.states:
        found.append(_B.state.in_(where.states))
    if where.resolution:
        found.append(_B.resolution == where.resolution)
    if where.priorities:
        found.append(_B.priority.in_(where.priorities))
    if where.parent:
        found.append(and_(_B.parent == where.parent, _B.parent != ""))
    if where.text:
        words = tables.bead_search.c
        found.append(_B.id.in_(select(words.bead_id).where(words.words.ilike(_like(where.text)))))
    if where.reason:
        found.append(and_(_B.reason != "", _B.reason.ilike(_like(where.reason))))
    if where.assignee:
        found.append(and_(_B.assignee == where.assignee, _B.assignee != ""))
    if where.agent:
        running = select(a.bead_id).where(a.outcome == "running", a.agent_id == where.agent)
        found.append(_B.id.in_(running))
    moments = (
        (_B.created_at, where.created_since, where.created_until),
        (_B.updated_at, where.updated_since, where.updated_until),
    )
    for column, since, until in moments:
        if since is not None:
            found.append(column >= since)
        if until is not None:
            found.append(column < until)
    return found


def _like(text: str) -> str:
    """The pattern that finds a text as it stands."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def key(bead: Bead, sort: BeadSort) -> tuple[Any, ...]:
    """Where a bead stands in an order."""
    if sort in (BeadSort.NEWEST, BeadSort.OLDEST):
        return bead.created_at, bead.id
    if sort in (BeadSort.LATEST, BeadSort.STALEST):
        return bead.updated_at, bead.id
    return bead.priority, bead.created_at, bead.id


def cursor_after(bead: Bead, sort: BeadSort) -> str:
    """The cursor of the page after that bead."""
    words = (each.isoformat() if isinstance(each, datetime) else each for each in key(bead, sort))
    return cursor.write(sort.value, *words)


def place(after: str, sort: BeadSort) -> tuple[Any, ...]:
    """Where a cursor points to; raises Invalid, also for one of another order."""
    if sort in (BeadSort.FIRST, BeadSort.LAST):
        order, priority, moment, bead_id = cursor.read(after, str, int, str, str)
        marks: tuple[Any, ...] = (priority, cursor.moment(str(moment)), bead_id)
    else:
        order, moment, bead_id = cursor.read(after, str, str, str)
        marks = (cursor.moment(str(moment)), bead_id)
    if order != sort.value:
        raise Invalid(
            f"the cursor is of the order {order!r}, and this list has {sort.value!r}: begin "
            "without one",
            field="cursor",
        )
    return marks


def check(where: BeadFilter) -> None:
    """Raise Invalid if a filter names what there cannot be."""
    for project_id in where.projects:
        check_project_id(project_id)
    if len(where.projects) > MAX_PROJECTS:
        raise Invalid(f"a list is of at most {MAX_PROJECTS} projects", field="project")
    unknown = set(where.states) - {state.value for state in State}
    if unknown:
        raise Invalid(f"there is no state {sorted(unknown)[0]!r}", field="state")
    if where.resolution and where.resolution not in {value.value for value in Resolution}:
        raise Invalid(f"there is no resolution {where.resolution!r}", field="resolution")
    for priority in where.priorities:
        check_priority(priority)
    if where.parent:
        check_bead_id(where.parent)
    for name in ("text", "reason", "assignee", "agent"):
        value = check_text(getattr(where, name), name)
        if len(value) > MAX_TEXT:
            raise Invalid(f"{name} has at most {MAX_TEXT} characters", field=name)
