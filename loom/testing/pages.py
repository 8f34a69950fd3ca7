"""Pages of what the parts of FakeLedger hold, cut as the real ledger cuts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.clients.answers import Page
from loom.database import cursor as cursors


def downwards(
    found: Sequence[Any], key: Callable[[Any], Any], asked: int, most: int, cursor: str
) -> Page[Any]:
    """A page of what is sorted downwards by key."""
    size = cursors.page_size(asked, 50, most)
    if cursor and found:
        before = cursors.read(cursor, type(key(found[0])))[0]
        found = [each for each in found if key(each) < before]
    more = cursors.write(key(found[size - 1])) if len(found) > size else ""
    return Page(tuple(found[:size]), more)
