"""The audit of ExecuteQuery: who asked what, when, and what came of it."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from loom.database import tables
from loom.database.filing import storable

KEPT_SQL = 16 * 1024


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
