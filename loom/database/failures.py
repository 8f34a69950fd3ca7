"""What PostgreSQL's and the pool's errors mean to a caller: Loom's own errors."""

from __future__ import annotations

import re

import psycopg
from sqlalchemy import exc

from loom.errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    LoomError,
    NotFound,
    Stale,
    Unavailable,
)

_KEY = re.compile(r"\((?P<columns>[^)]*)\)=\((?P<values>.*)\)")

AWAY = ("08", "53", "57P01", "57P02", "57P03", "57P05", "25P03", "28", "3D")
"""SQLSTATE classes of a database that cannot be used now: no connection, no resources, shutting
down, idle too long in a transaction, a login or a database that is not there yet."""

REPEATABLE = ("40001", "40P01")
"""Serialization failure and deadlock: nothing happened, and the same may work at once."""


def is_repeatable(error: Exception) -> bool:
    """The transaction was rolled back because of others, and may just be run again."""
    return isinstance(error, exc.DBAPIError) and _sqlstate(error).startswith(REPEATABLE)


def is_lost_connection(error: Exception) -> bool:
    """The connection broke; the pool has thrown it away."""
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def named(error: Exception) -> LoomError | None:
    """Loom's error for the database's; None if it is a fault of the service itself."""
    if isinstance(error, exc.TimeoutError):
        return Unavailable(
            "every connection of the database service is busy: try again in a moment",
            service="database",
        )
    if isinstance(error, exc.DBAPIError):
        return of_driver(error.orig, lost=error.connection_invalidated)
    if isinstance(error, psycopg.Error):
        return of_driver(error)
    return None


def of_driver(  # noqa: PLR0911 - one answer a meaning
    error: BaseException | None, *, lost: bool = False
) -> LoomError | None:
    """Loom's error for psycopg's."""
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if (
        lost
        or state.startswith(AWAY)
        or (isinstance(error, psycopg.OperationalError) and not state)
    ):
        return Unavailable(f"the database does not answer: {words}", service="postgres")
    if state.startswith(REPEATABLE):
        return Unavailable(f"too much happens at once: {words}: try again", service="postgres")
    if state in ("57014", "55P03"):
        return DeadlineExceeded(f"the database did not finish in its time: {words}")
    if state == "23505":
        return _taken(error)
    if state == "23503":
        match = _KEY.search(error.diag.message_detail or "")
        value = match["values"] if match else "of that id"
        what = "project" if error.diag.constraint_name == "bead_project_id_fkey" else "row"
        return NotFound(f"there is no {what} {value}", id=value)
    if state.startswith("22") or state == "23514" or isinstance(error, psycopg.DataError):
        return Invalid(f"the database cannot take a value: {words}")
    return None


def _taken(error: psycopg.Error) -> LoomError:
    table = error.diag.table_name or "row"
    match = _KEY.search(error.diag.message_detail or "")
    value = match["values"] if match else ""
    if table in ("bead", "project") and match and match["columns"] == "id":
        return Conflict(
            f"{table} {value} exists already: leave out the id, or take another",
            **{f"{table}_id": value},
        )
    return Stale(f"somebody else has just written {table} {value}: read it again")


def _sqlstate(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
