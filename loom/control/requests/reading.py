"""Reads a request into a model; whatever breaks a rule of it is told, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from loom.control.problem import Fault, InvalidFields
from loom.domain.document import message_of
from loom.domain.rulebook import RulesIn

MAX_PAGE = 500
MAX_CURSOR = 500
MAX_FAULTS = 20
"""Told of one request; the rest are many of the same."""

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
"""Of the model of a body."""
LOOSE = ConfigDict(extra="forbid", frozen=True)
"""Of the model of a query: text is read as a number where one is meant."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Paging(BaseModel):
    """The query of a list."""

    model_config = LOOSE

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR, pattern=r"^[!-~]*$")] = ""


def read_body(kind: type[M], body: Any) -> M:
    """The object in a body. Raises InvalidFields."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidFields(_faults(error)) from error


def read_value(kind: TypeAdapter[T], body: Any) -> T:
    """Whatever else a body may be. Raises InvalidFields."""
    try:
        return kind.validate_python(body)
    except ValidationError as error:
        raise InvalidFields(_faults(error)) from error


def read_query(kind: type[M], query: Mapping[str, list[str]]) -> M:
    """The parameters of a URL; one whose field is a list may stand several times.

    Raises InvalidFields.
    """
    several = {
        field.alias or name
        for name, field in kind.model_fields.items()
        if get_origin(field.annotation) is list
    }
    faults = [
        Fault(name, "stands more than once")
        for name, values in query.items()
        if len(values) > 1 and name not in several
    ]
    if faults:
        raise InvalidFields(faults)
    return read_body(kind, {k: list(v) if k in several else v[0] for k, v in query.items()})


def _faults(error: ValidationError) -> list[Fault]:
    return [_fault(each) for each in error.errors(include_url=False)[:MAX_FAULTS]]


def _fault(error: ErrorDetails) -> Fault:
    message = {
        "extra_forbidden": "nobody knows this field",
        "missing": "is needed",
        "model_type": "has to be an object",
        "model_attributes_type": "has to be an object",
    }.get(error["type"], error["msg"])
    if error["loc"] and error["loc"][0] == "rules":
        message = message_of(error, RulesIn, error["loc"][1:])
    return Fault(".".join(str(part)[:80] for part in error["loc"]), message)
