"""Reads a request's body as JSON, strictly: what another reader could take differently is refused.

Refused beside broken JSON: NaN and infinities, a key twice in one object (RFC 8259 leaves both
open), and text that PostgreSQL cannot hold (NUL, lone surrogates).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

from flask import request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import RequestEntityTooLarge

from loom.control.problem import Fault, InvalidFields
from loom.errors import BadRequest, UnsupportedMediaType

MAX_DEPTH = 32
"""Objects and lists within each other, in one body."""

_CUT = 20
"""Faults told of one body; the rest are many of the same."""


def read() -> Any:
    """The body of the current request.

    Raises UnsupportedMediaType, RequestEntityTooLarge, BadRequest, or InvalidFields for text
    that cannot be stored.
    """
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType(
            f"the body is declared as {request.headers.get('Content-Type', 'nothing')!r}: send "
            "JSON in UTF-8 with the header `Content-Type: application/json`"
        )
    try:
        raw = _raw()
    except ParseException as error:
        raise BadRequest(f"the body's chunks are broken: {error}") from error
    value = parse(raw)
    faults = [Fault(field, message) for field, message in _bad_text(value, (), 0)][:_CUT]
    if faults:
        raise InvalidFields(faults)
    return value


def _raw() -> bytes:
    """The bytes of the body, or RequestEntityTooLarge from Flask."""
    raw: bytes = request.stream.read()
    if request.content_length is None:
        # Of a chunked body werkzeug reads as much as the limit and leaves the rest unsaid
        # (LimitedStream.readall), so the stream itself has to say that it ended.
        limit = request.max_content_length
        if limit is not None and len(raw) >= limit and request.input_stream.read(1):
            raise RequestEntityTooLarge
    elif len(raw) < request.content_length:
        raise BadRequest(
            f"the body ended after {len(raw)} of the {request.content_length} bytes it announced"
        )
    return raw


def parse(raw: bytes) -> Any:
    """The JSON value in the bytes; raises BadRequest saying what is wrong and where."""
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_no_duplicates,
        )
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} is not") from error
    except RecursionError as error:
        raise BadRequest("the body has too many objects and lists within each other") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def fingerprint(value: Any) -> str:
    """A digest that is equal for bodies that say the same, however they are written."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _bad_text(value: Any, place: tuple[str, ...], depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if wrong := _unstorable(value):
            yield ".".join(place), wrong
    elif depth >= MAX_DEPTH and isinstance(value, dict | list):
        yield ".".join(place[:8]), f"more than {MAX_DEPTH} objects and lists within each other"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _bad_text(item, (*place, str(index)), depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if wrong := _unstorable(key):
                yield ".".join(place), f"in a key: {wrong}"
            else:
                yield from _bad_text(item, (*place, key[:80]), depth + 1)


def _unstorable(text: str) -> str:
    if "\0" in text:
        return "a NUL character (\\u0000) cannot be stored"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "a lone surrogate is no character"
    return ""
