"""JSON that a tool wrote, perhaps after a heading of whoever ran it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from workers.reports.tally import Unreadable

_BEGIN = re.compile(r"^[\[{]", re.MULTILINE)
MAX_CHARS = 16 * 1024**2
"""Of a document, which takes ten times as much memory once it is read."""
MAX_TRIES = 20
"""Places at which the document might begin."""


def document(text: str, fits: Callable[[Any], bool]) -> Any:
    """The first JSON document in the text that fits. Raises Unreadable."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"it has {len(text)} characters: a JSON document may have {MAX_CHARS}")
    decoder = json.JSONDecoder()
    after = 0
    for tries, match in enumerate(_BEGIN.finditer(text.removeprefix("\ufeff"))):
        if tries == MAX_TRIES:
            break
        if match.start() < after:
            continue
        try:
            found, after = decoder.raw_decode(match.string, match.start())
        except (ValueError, RecursionError):
            continue
        if fits(found):
            return found
    raise Unreadable("it holds no such JSON document")


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing for what is no list."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def within(value: Any, *path: str) -> Any:
    """What stands under these keys; None where one is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
