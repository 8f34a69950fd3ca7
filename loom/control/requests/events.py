"""What requests for events may say."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from loom.control.requests.fields import BeadId, Moment, ProjectId, moment, rule
from loom.control.requests.reading import LOOSE
from loom.domain.event import MAX_PATTERNS, EventFilter, Place, check_patterns
from loom.errors import Invalid

MAX_PROJECTS = 100


def _pattern_fault(pattern: str) -> str:
    try:
        check_patterns((pattern,))
    except Invalid as error:
        return error.detail
    return ""


def _place_fault(text: str) -> str:
    try:
        Place.parse(text)
    except Invalid as error:
        return error.detail
    return ""


def _since_fault(text: str) -> str:
    return "" if text in ("now", "start") else _place_fault(text)


Pattern = Annotated[str, StringConstraints(max_length=100), rule(_pattern_fault)]
PlaceText = Annotated[
    str, StringConstraints(max_length=60), rule(lambda text: _place_fault(text) if text else "")
]


class Wanted(BaseModel):
    """Which events are wanted. project, type: any of those; none: all."""

    model_config = LOOSE

    project: Annotated[list[ProjectId], Field(max_length=MAX_PROJECTS)] = []
    bead: BeadId | None = None
    type: Annotated[list[Pattern], Field(max_length=MAX_PATTERNS)] = []

    def filter(
        self, visible: Set[str] | None, since: datetime | None = None,
        until: datetime | None = None,
    ) -> EventFilter:  # fmt: skip
        """What the ledger is asked for. visible: the projects that the caller may see."""
        projects: frozenset[str] | None = frozenset(self.project) if self.project else None
        if visible is not None:
            projects = frozenset(visible if projects is None else projects & visible)
        return EventFilter(projects, self.bead or "", tuple(self.type), since, until)


class EventQuery(Wanted):
    """The query of a list of events. order: which come first."""

    since: Moment | None = None
    until: Moment | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: PlaceText = ""

    def wanted(self, visible: Set[str] | None) -> EventFilter:
        """What the ledger is asked for."""
        return self.filter(visible, moment(self.since), moment(self.until))


class StreamQuery(Wanted):
    """The query of a stream. since: now, start or a place, where no Last-Event-ID comes."""

    since: Annotated[str, StringConstraints(max_length=60), rule(_since_fault)] = "now"
