"""The audit: what people did to the ledger and why, and what ExecuteQuery was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from loom.database import cursor, tables
from loom.database.filing import storable
from loom.domain.audit import AuditLine, Intervention

KEPT_SQL = 16 * 1024
PAGE, LARGEST_PAGE = 50, 500


def note(
    connection: Connection,
    by: Intervention,
    action: str,
    target: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write what was done into the trail, in the transaction that did it."""
    connection.execute(
        insert(tables.audit).values(
            actor=by.actor,
            action=action,
            target=target,
            reason=by.reason,
            correlation_id=by.correlation_id,
            detail=dict(detail or {}),
        )
    )


def page(
    connection: Connection, target: str, action: str, size: int, after: str
) -> tuple[tuple[AuditLine, ...], str]:
    """The trail, newest first, and the next cursor. Raises Invalid."""
    table = tables.audit
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).order_by(table.c.id.desc()).limit(size + 1)
    if target:
        statement = statement.where(table.c.target == target)
    if action:
        # As loom.domain.audit.takes.
        wanted = (
            table.c.action.startswith(each[:-1], autoescape=True)
            if each.endswith(".*")
            else table.c.action == each
            for each in action.split(",")
        )
        statement = statement.where(or_(*wanted))
    if after:
        statement = statement.where(table.c.id < cursor.read(after, int)[0])
    found = [AuditLine(**row) for row in connection.execute(statement).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""


def record(
    connection: Connection,
    *,
    caller: str,
    sql: str,
    parameters: int,
    rows: int,
    duration_s: float,
    error: str,
) -> None:
    """Write one line; the values of the parameters are left out, since they may be personal."""
    connection.execute(
        insert(tables.query_audit).values(
            caller=caller,
            sql=storable(sql)[:KEPT_SQL],
            parameters=parameters,
            row_count=rows,
            duration_s=duration_s,
            error=storable(error),
        )
    )
