"""ExecuteQuery: one SELECT under a role that can only read, within limits.

Four fences, each enough by itself against writing: the role holds SELECT and nothing else, the
transaction is read-only and has its snapshot, the statement is the body of a cursor (which takes
neither other commands nor writes in WITH) sent by the extended protocol (one statement alone),
and it is rolled back. The session is wiped afterwards (pool.make_reader_engine).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.string import TextLoader
from sqlalchemy import Connection

from loom.database import failures
from loom.errors import DeadlineExceeded, Forbidden, Invalid, LoomError, TooLarge
from loom.rpc.v1 import database_pb2 as pb

MAX_ROWS = 5_000
MAX_BYTES = 8 * 1024 * 1024
MAX_ROW_BYTES = 2 * 1024 * 1024
MAX_SQL = 64 * 1024
LONGEST_S = 20.0
FETCH = 25

_AS_TEXT = (
    "json", "jsonb", "numeric", "date", "time", "timetz", "timestamp", "timestamptz", "interval",
    "uuid", "inet", "cidr",
)  # fmt: skip
_TOO_WIDE = "bytes are in one row"

# A value of a gigabyte would be in the service's memory before it could be counted, so the
# database counts: the cast of these words to a number is what fails.
_FRAME = """SELECT loom_row.* FROM (
{sql}
) AS loom_row
WHERE CASE WHEN pg_column_size(loom_row) > {most}
           THEN (pg_column_size(loom_row)::text || ' {words}')::integer ELSE 1 END = 1"""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of a query; truncated: a limit let no more through."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool


def execute(
    connection: Connection,
    sql: str,
    parameters: Sequence[Any],
    max_rows: int,
    time_left_s: float,
) -> Answer:
    """Run the query in the read-only transaction that is open. Raises Loom's errors."""
    if not sql.strip() or len(sql) > MAX_SQL or "\0" in sql:
        raise Invalid(f"sql has to be one SELECT of at most {MAX_SQL} characters", field="sql")
    most = min(max_rows or MAX_ROWS, MAX_ROWS)
    until = time.monotonic() + min(time_left_s, LONGEST_S)
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("the reader's engine is psycopg's")
    framed = _FRAME.format(sql=sql.strip().rstrip("; \t\n"), most=MAX_ROW_BYTES, words=_TOO_WIDE)
    try:
        return _fetch(driver, framed, parameters, most, until)
    except psycopg.Error as error:
        raise _named(error) from error


def _fetch(
    driver: psycopg.Connection[Any], sql: str, parameters: Sequence[Any], most: int, until: float
) -> Answer:
    with driver.cursor(name="loom_query") as cursor:
        for kind in _AS_TEXT:
            cursor.adapters.register_loader(kind, TextLoader)
        _limit(driver, until)
        cursor.execute(sql.encode(), parameters or None)
        columns = tuple(column.name for column in cursor.description or ())
        rows: list[tuple[Any, ...]] = []
        room = MAX_BYTES
        while True:
            # A query can change its own limit, but only for the statement after it: set it anew.
            _limit(driver, until)
            chunk = cursor.fetchmany(min(FETCH, most + 1 - len(rows)))
            if not chunk:
                return Answer(columns, tuple(rows), truncated=False)
            for row in chunk:
                room -= sum(_size(value) for value in row)
                if len(rows) == most or room < 0:
                    return Answer(columns, tuple(rows), truncated=True)
                rows.append(row)


def _limit(driver: psycopg.Connection[Any], until: float) -> None:
    left_ms = int((until - time.monotonic()) * 1000)
    if left_ms <= 0:
        raise DeadlineExceeded("the query did not finish in its time: narrow it")
    driver.execute(f"SET LOCAL statement_timeout = {left_ms}")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode()) + 8
    if isinstance(value, bytes | memoryview):
        return len(value) + 8
    return len(json.dumps(value, default=str)) + 8 if isinstance(value, list | dict) else 16


def _named(error: psycopg.Error) -> LoomError:
    words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    state = error.sqlstate or ""
    if _TOO_WIDE in words:
        return TooLarge(
            f"a row has more than {MAX_ROW_BYTES} bytes: select less of it, with left() or substr()"
        )
    if state == "42501" or state.startswith("25"):
        return Forbidden(f"this may only read Loom's tables: {words}")
    if state == "57014":
        return DeadlineExceeded("the query did not finish in its time: narrow it")
    away = failures.of_driver(error)
    if away is not None and away.code == "unavailable":
        return away
    return Invalid(f"PostgreSQL refuses the query: {words}", sqlstate=state)


def parameter(value: pb.Value) -> Any:
    """A parameter as Python has it."""
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null") else getattr(value, kind)


def value_to_pb(value: Any) -> pb.Value:  # noqa: PLR0911 - one answer a kind
    """One value of a row; what the contract has no kind for travels as text."""
    if value is None:
        return pb.Value(null=True)
    if isinstance(value, bool):
        return pb.Value(boolean=value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return pb.Value(integer=value)
    if isinstance(value, float):
        return pb.Value(real=value)
    if isinstance(value, bytes | memoryview):
        return pb.Value(blob=bytes(value))
    if isinstance(value, list | dict | tuple):
        return pb.Value(text=json.dumps(value, default=str))
    return pb.Value(text=str(value))
