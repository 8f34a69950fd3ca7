"""The problem document (RFC 9457) that every error is answered by."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from loom.control.answers.answer import Answer


class FaultOut(Answer):
    """What is wrong with one field."""

    field: str = Field(description="its path, as `context.patch` or `3.title`")
    message: str


class ProblemOut(BaseModel):
    """What went wrong, to what, and what to do next."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: str = Field(pattern="^urn:loom:problem:")
    title: str
    status: int
    detail: str
    instance: str = Field(description="the path of the request")
    code: str = Field(description="stable, for programs")
    correlation_id: str = Field(description="finds the request in Loom's log")
    errors: list[FaultOut] = Field(default=[], description="of single fields, where there are any")
