"""What requests say of beads."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from loom.control.problem import Fault, InvalidFields
from loom.control.requests.fields import (
    MAX_TITLE,
    Argv,
    Attempts,
    BeadId,
    BeadIds,
    Moment,
    Priority,
    ProjectId,
    Timeout,
    Version,
    moment,
    rule,
    single_line,
)
from loom.control.requests.reading import STRICT, Paging, read_body, read_value
from loom.domain.actions import MAX_WORK_BYTES, Actions
from loom.domain.bead import MAX_BATCH, Amendment, NewBead
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import MAX_TEXT, BeadFilter, BeadSort
from loom.domain.project import DEFAULT_TIMEOUT_S
from loom.domain.recipe import STEPS
from loom.errors import NotFound

MAX_DESCRIPTION = 20_000


def _patch_size(text: str) -> str:
    size = len(text.encode())
    return f"is {size} bytes; the limit is {MAX_WORK_BYTES}" if size > MAX_WORK_BYTES else ""


def _step(name: str) -> str:
    return "" if name in {*STEPS, "verify"} else f"is one of {', '.join(STEPS)}, verify"


class ContextIn(BaseModel):
    """What the agent works from: the keys that Loom knows are typed, all others travel as is."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    way: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] = ""
    steps: Annotated[list[Annotated[str, rule(_step)]], Field(min_length=1, max_length=16)] = []
    patch: Annotated[str, rule(_patch_size)] = ""
    actions: Actions = []
    test_command: Argv = Field(default_factory=list)
    timeout_s: Timeout = DEFAULT_TIMEOUT_S
    soft_timeout_s: Timeout | None = None


Title = Annotated[str, StringConstraints(max_length=MAX_TITLE), rule(single_line)]
Description = Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)]


class BeadIn(BaseModel):
    """A bead as a request files it."""

    model_config = STRICT

    title: Title
    id: BeadId | None = None
    description: Description = ""
    context: ContextIn = ContextIn()
    priority: Priority = 2
    not_before: Moment | None = None
    blocked_by: BeadIds = Field(default_factory=list)
    parent: BeadId | None = None
    max_attempts: Attempts = 0

    def bead(self) -> NewBead:
        """The domain's value, its context as it came."""
        return NewBead(
            title=self.title,
            id=self.id or "",
            description=self.description,
            context=self.context.model_dump(exclude_unset=True),
            priority=self.priority,
            not_before=moment(self.not_before),
            blocked_by=tuple(self.blocked_by),
            parent=self.parent or "",
            max_attempts=self.max_attempts,
        )


BeadsIn = Annotated[list[BeadIn], Field(min_length=1, max_length=MAX_BATCH)]
"""Several beads as a request files them, all or none."""


class BeadPatch(BaseModel):
    """What a request changes of a bead; null takes away. version: of the bead, for who cannot send
    If-Match.
    """

    model_config = STRICT

    version: Version | None = None
    title: Title | None = None
    description: Description | None = None
    context: ContextIn | None = None
    priority: Priority | None = None
    not_before: Moment | None = None
    blocked_by: BeadIds | None = None
    parent: BeadId | None = None
    max_attempts: Attempts | None = None

    def amendment(self) -> Amendment:
        """The domain's value."""
        given = self.model_fields_set
        return Amendment(
            priority=self.priority,
            max_attempts=self.max_attempts,
            blocked_by=None if "blocked_by" not in given else tuple(self.blocked_by or ()),
            parent=None if "parent" not in given else self.parent or "",
            not_before=moment(self.not_before),
            due_now="not_before" in given and self.not_before is None,
            title=self.title,
            description=self.description,
            context=self.context.model_dump(exclude_unset=True) if self.context else None,
        )


Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
SHORT = Field(max_length=100)


class BeadQuery(Paging):
    """The query of a list of beads. project, state and priority may stand several times, for any of
    them; q: a text in the id or the title; reason: one in why it is blocked or how it ended.
    """

    project: Annotated[list[ProjectId], SHORT] = Field(default_factory=list)
    state: Annotated[list[State], SHORT] = Field(default_factory=list)
    resolution: Resolution | None = None
    priority: Annotated[list[Priority], SHORT] = Field(default_factory=list)
    parent: BeadId | None = None
    q: Text = ""
    reason: Text = ""
    assignee: Text = ""
    agent: Text = ""
    created_since: Moment | None = None
    created_until: Moment | None = None
    updated_since: Moment | None = None
    updated_until: Moment | None = None
    sort: BeadSort = BeadSort.NEWEST


def bead_filter(asked: Any, projects: tuple[str, ...] = ()) -> BeadFilter:
    """Which beads a query or a body asks for. projects: those that the caller may act in; empty:
    all. Raises NotFound where it asks for others alone.
    """
    wanted = tuple(asked.project)
    if projects:
        wanted = tuple(id_ for id_ in wanted or projects if id_ in projects)
        if not wanted:
            raise NotFound("there is no such project, or none that you may act in")
    return BeadFilter(
        projects=wanted,
        states=tuple(str(state) for state in asked.state),
        resolution=str(asked.resolution or ""),
        priorities=tuple(asked.priority),
        parent=asked.parent or "",
        text=asked.q,
        reason=asked.reason,
        assignee=asked.assignee,
        agent=asked.agent,
        created_since=moment(asked.created_since),
        created_until=moment(asked.created_until),
        updated_since=moment(asked.updated_since),
        updated_until=moment(asked.updated_until),
    )


_BEADS: TypeAdapter[list[BeadIn]] = TypeAdapter(BeadsIn)


def read_beads(body: Any) -> tuple[NewBead, ...]:
    """The beads in a body: one object, or a list of them. Raises InvalidFields."""
    if not isinstance(body, list):
        return (read_body(BeadIn, body).bead(),)
    return tuple(bead.bead() for bead in read_value(_BEADS, body))


def read_amendment(body: Any) -> tuple[Amendment, int]:
    """What a body changes of a bead, and the version it is meant for. Raises InvalidFields."""
    patch = read_body(BeadPatch, body)
    if not patch.model_fields_set - {"version"}:
        raise InvalidFields([Fault("", "the body has to name a field that is to change")])
    return patch.amendment(), patch.version or 0
