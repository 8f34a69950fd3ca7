"""What every answer has in common: each field is there, and no other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A JSON object of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Moment = AwareDatetime
"""RFC 3339 in UTC, to the microsecond."""
Path = Annotated[str, Field(pattern="^/", json_schema_extra={"format": "uri-reference"})]
"""An address on this server."""
Count = Annotated[int, Field(ge=0)]
Object = dict[str, Any]
NextCursor = Annotated[str | None, Field(description="of the next page; null on the last")]
