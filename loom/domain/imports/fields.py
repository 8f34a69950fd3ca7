"""Reads the fields of a record, each as the type that it has to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from loom.domain.imports.issue import MAX_EXTERNAL_ID, MAX_RECORD_BYTES
from loom.domain.priority import LATEST
from loom.errors import Invalid

MAX_DEPTH = 24
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Moments before it are how some programs write that there was none."""


class Fields:
    """The fields of one record; each method raises Invalid naming the field."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    def text(self, name: str) -> str:
        """A text; empty if there is none."""
        value = self._record.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Invalid(f"{name} has to be text", field=name)
        return value

    def number(self, name: str) -> int | None:
        """A whole number."""
        value = self._record.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"{name} has to be a whole number", field=name)
        return value

    def moment(self, name: str) -> datetime | None:
        """A moment in RFC 3339."""
        text = self.text(name)
        return moment(text, name) if text else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._record.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Invalid(f"{name} has to be a list of texts", field=name)
        return tuple(value)

    def objects(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """A list of objects."""
        value = self._record.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise Invalid(f"{name} has to be a list of objects", field=name)
        return tuple(value)

    def object(self, name: str) -> Mapping[str, Any]:
        """An object; empty if there is none."""
        value = self._record.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Invalid(f"{name} has to be an object", field=name)
        return value

    def id(self, name: str) -> str:
        """An id that the source gave."""
        value = self.text(name)
        if not value.strip() or len(value) > MAX_EXTERNAL_ID or not value.isprintable():
            raise Invalid(
                f"{name} is needed: 1 to {MAX_EXTERNAL_ID} printable characters, by which the "
                "issue is known again",
                field=name,
            )
        return value


def moment(text: str, name: str) -> datetime | None:
    """The moment in a text; None for one that stands for none. Raises Invalid."""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if text.startswith("0001-01-01"):
            return None
        raise Invalid(
            f"{name} is {text[:40]!r} and no moment, as 2026-05-01T09:00:00Z", field=name
        ) from error
    if found >= LATEST:
        raise Invalid(f"{name} has to be before the year {LATEST.year}", field=name)
    return found if found > NEVER else None


def telling(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without fields that say nothing: none, empty and false."""
    return {
        name: value
        for name, value in record.items()
        if value is not None and value is not False and value not in ("", [], {})
    }


def check_storable(record: Mapping[str, Any]) -> None:
    """Raise Invalid for what no ledger keeps: NUL, lone surrogates, NaN, too deep, too large."""
    _check_texts(record, 0)
    try:
        size = len(json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the record cannot be kept: {error}") from error
    if size > MAX_RECORD_BYTES:
        raise Invalid(f"the record takes {size} bytes: the limit is {MAX_RECORD_BYTES}")


def _check_texts(value: object, depth: int) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise Invalid("a text holds NUL, which no text of a database does")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) > 1e300:
            raise Invalid("a number is too large")
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise Invalid(f"more than {MAX_DEPTH} objects and lists within each other")
        if isinstance(value, dict):
            for key, each in value.items():
                _check_texts(key, depth + 1)
                _check_texts(each, depth + 1)
        else:
            for each in value:
                _check_texts(each, depth + 1)
