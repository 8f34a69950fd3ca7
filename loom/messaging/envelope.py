"""A message on its way: where it goes, what it carries, and how a received one is judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from loom.errors import UnreadableMessage

VERSION = 1
"""The version of every message that Loom writes; it reads this one and older."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to publish. mandatory: the broker returns it if no queue takes it."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = JSON
    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as a consumer got it. tag: what it is acknowledged by."""

    tag: int
    queue: str
    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any]
    message_id: str = ""
    correlation_id: str = ""
    content_type: str = JSON
    redelivered: bool = False


def read_json(body: bytes, limit: int, what: str) -> Any:
    """Decode a body, or raise UnreadableMessage saying what is wrong with it."""
    if len(body) > limit:
        raise UnreadableMessage(
            f"{what} of {len(body)} bytes: the limit is {limit}", reason="oversize"
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"{what} is not JSON: {error}", reason="malformed") from error


def why_invalid(error: ValidationError) -> str:
    """The first faults of a validation in one line, without the value itself."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)[:3]
    ]
    return "; ".join(faults)


def check_version(headers: Mapping[str, Any], what: str) -> None:
    """Raise UnreadableMessage if the message was written for a newer Loom."""
    version = headers.get("version", VERSION)
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise UnreadableMessage(
            f"{what} has version {version!r}; this Loom reads up to {VERSION}",
            reason="unknown_version",
        )
