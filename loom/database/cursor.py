"""Cursors of lists: where the next page begins, in a form that callers just hand back."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime

from loom.errors import Invalid


def write(*position: str | int) -> str:
    """An opaque, URL-safe cursor for a position in the order of a list."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def read(cursor: str, *kinds: type) -> tuple[str | int, ...]:
    """The position in a cursor; raises Invalid unless `write` made it of values of these kinds."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _bad() from error
    if not isinstance(position, list) or [type(part) for part in position] != list(kinds):
        raise _bad()
    for part in position:
        if (isinstance(part, str) and "\0" in part) or (
            isinstance(part, int) and abs(part) >= 2**63
        ):
            raise _bad()
    return tuple(position)


def write_moment(made: datetime, bead_id: str) -> str:
    """A cursor after the item made at that moment with that id."""
    return write(made.isoformat(), bead_id)


def read_moment(cursor: str) -> tuple[datetime, str]:
    """What write_moment wrote; raises Invalid."""
    text, bead_id = read(cursor, str, str)
    return moment(str(text)), str(bead_id)


def moment(text: str) -> datetime:
    """The moment in a part of a cursor; raises Invalid."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad() from error
    if found.tzinfo is None:
        raise _bad()
    return found


def page_size(asked: int, default: int, most: int) -> int:
    """How many items a page has; 0 asks for the default. Raises Invalid above most."""
    if not 0 <= asked <= most:
        raise Invalid(f"page_size has to be 1 to {most}", field="page_size")
    return asked or default


def _bad() -> Invalid:
    return Invalid(
        "the cursor is not one that a list gave: begin without one, and pass next_cursor on",
        field="cursor",
    )
