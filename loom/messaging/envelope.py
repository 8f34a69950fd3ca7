"""A message on its way: where it goes, what it carries, and how a received one is judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from loom.errors import UnreadableMessage

VERSION = 1
"""The version of every message that Loom writes; it reads this one and older."""

JSON = "application/json"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to publish. mandatory: the broker returns it if no queue takes it.

    user_id: in whose name; empty for the publisher's own, and the broker refuses any other.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = JSON
    mandatory: bool = True
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as a consumer got it. tag: what it is acknowledged by.

    user_id: the user that published it, for which the broker vouches; empty if it names none.
    """

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
    user_id: str = ""


def read_json(body: bytes, limit: int, what: str) -> Any:
    """Decode a body of UTF-8 JSON, or raise UnreadableMessage saying what is wrong with it."""
    if len(body) > limit:
        raise UnreadableMessage(
            f"{what} of {len(body)} bytes: the limit is {limit}", reason="oversize"
        )
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"{what} is not JSON: {error}", reason="malformed") from error


def validate(model: type[M], payload: Any) -> M:
    """The model's value of a decoded body, or raise UnreadableMessage naming the first faults.

    Strict JSON mode takes RFC 3339 text for a timestamp and refuses every other coercion.
    """
    try:
        return model.model_validate_json(json.dumps(payload))
    except RecursionError as error:
        raise UnreadableMessage("the message is nested too deep", reason="malformed") from error
    except ValidationError as error:
        # pydantic's own JSON reader refuses what Python's lets through: half a surrogate pair,
        # and more than 200 levels.
        broken = any(fault["type"] == "json_invalid" for fault in error.errors(include_url=False))
        reason = "malformed" if broken else "wrong_type"
        raise UnreadableMessage(why_invalid(error), reason=reason) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


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
    if type(version) is bool or not isinstance(version, int) or not 1 <= version <= VERSION:
        raise UnreadableMessage(
            f"{what} has version {str(version)[:40]}; this Loom reads up to {VERSION}",
            reason="unknown_version",
        )
