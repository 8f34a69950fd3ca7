"""Events, as CloudEvents 1.0 in JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loom.control.answers.answer import Answer, Moment, NextCursor, Object, Path

Place = Annotated[
    str,
    Field(pattern="^[0-9]+-[0-9]+-[0-9]+$", description="in the journal; hand it back to go on"),
]


class EventOut(Answer):
    """One change of state."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(description="the same wherever the event is told")]
    source: Path
    type: Annotated[str, Field(examples=["bead.closed"])]
    subject: Annotated[str | None, Field(description="the id of what has changed")]
    time: Moment
    datacontenttype: Literal["application/json"]
    projectid: str | None
    correlationid: str | None
    traceparent: str | None
    place: Place
    data: Object


class EventPageOut(Answer):
    """Some events, and the place after them."""

    events: list[EventOut]
    place: Place
    next_cursor: NextCursor
