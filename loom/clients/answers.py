"""What a list and a creation answer, whichever service is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor of the next page; empty on the last."""

    items: tuple[T, ...]
    next_cursor: str = ""


def every(page: Callable[[str], Page[T]]) -> Iterator[T]:
    """The items of all pages. page: gives the one at a cursor, the first at the empty one."""
    cursor = ""
    while True:
        found = page(cursor)
        yield from found.items
        cursor = found.next_cursor
        if not cursor:
            return


@dataclass(frozen=True, slots=True)
class Filed(Generic[T]):
    """What a creation answered; replayed: an earlier request with the same key did the work."""

    items: tuple[T, ...]
    replayed: bool = False
