"""The types of fields that several requests have, with their rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from unicodedata import category

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from loom.domain.bead import MAX_BLOCKERS
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.priority import MAX_PRIORITY, check_not_before
from loom.domain.project import MAX_ATTEMPTS, MAX_TIMEOUT_S
from loom.errors import Invalid

MAX_TITLE = 200
MAX_WORDS = 256
MAX_WORD = 8_192


def rule(fault: Callable[[str], str]) -> AfterValidator:
    """Refuse a text of which fault says what is wrong; it says nothing of one that is not."""

    def check(value: str) -> str:
        if wrong := fault(value):
            raise PydanticCustomError("rule", "{wrong}", {"wrong": wrong})
        return value

    return AfterValidator(check)


def by(check: Callable[[str], str]) -> AfterValidator:
    """Refuse a text for which the domain's own check raises Invalid."""

    def fault(value: str) -> str:
        try:
            check(value)
        except Invalid as error:
            return error.detail
        return ""

    return rule(fault)


def single_line(text: str) -> str:
    """What keeps a text from being one line that says something."""
    if not text.strip():
        return "has to say something"
    return one_line(text)


def one_line(text: str) -> str:
    """What keeps a text from being one line, or none."""
    if any(category(char) in {"Cc", "Zl", "Zp"} for char in text):
        return "has to be one line without control characters"
    return ""


def _program(words: list[str]) -> list[str]:
    if not words[0].strip():
        raise PydanticCustomError("rule", "has to begin with the name of a program")
    return words


def _moment_fault(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return "needs its offset from UTC, as in 2026-05-01T09:00:00Z"
        check_not_before(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return "is a moment in RFC 3339, as 2026-05-01T09:00:00Z"
    except Invalid as error:
        return error.detail
    return ""


def moment(text: str | None) -> datetime | None:
    """The moment that a checked text names."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def one_of(*words: str) -> Any:
    """One of these words."""
    return Field(pattern=f"^(?:{'|'.join(words)})$", json_schema_extra={"enum": list(words)})


def each_once(ids: list[str]) -> list[str]:
    """The ids; a validator that refuses one which stands there twice."""
    if len(set(ids)) < len(ids):
        raise PydanticCustomError("rule", "names a bead twice")
    return ids


Word = Annotated[str, StringConstraints(max_length=MAX_WORD)]
Argv = Annotated[list[Word], Field(min_length=1, max_length=MAX_WORDS), AfterValidator(_program)]
Timeout = Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)]
SoftTimeout = Annotated[int, Field(ge=0, le=MAX_TIMEOUT_S)]
Priority = Annotated[int, Field(ge=0, le=MAX_PRIORITY)]
Attempts = Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)]
ProjectId = Annotated[str, by(check_project_id)]
BeadId = Annotated[str, by(check_bead_id)]
BeadIds = Annotated[list[BeadId], Field(max_length=MAX_BLOCKERS), AfterValidator(each_once)]
Moment = Annotated[
    str,
    StringConstraints(max_length=40),
    rule(_moment_fault),
    Field(json_schema_extra={"format": "date-time"}),
]
Version = Annotated[int, Field(ge=1, lt=2**63)]
