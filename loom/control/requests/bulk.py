"""What a request to act on many beads says."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from loom.control.requests.beads import SHORT, Text, bead_filter
from loom.control.requests.fields import BeadId, Moment, Priority, ProjectId, each_once, one_of
from loom.control.requests.reading import STRICT
from loom.control.requests.steering import ReasonIn
from loom.domain.bulk import MAX_BULK, Act, Bulk
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import ALL, BeadFilter

ACTS = {
    "cancel": Act.CANCEL,
    "unblock": Act.UNBLOCK,
    "retry": Act.UNBLOCK,
    "priority": Act.PRIORITY,
}

OneState = Annotated[str, one_of(*State)]


class FilterIn(BaseModel):
    """Which beads: all that pass every field that is given."""

    model_config = STRICT

    project: Annotated[list[ProjectId], SHORT] = []
    state: Annotated[list[OneState], SHORT] = []
    resolution: Annotated[str, one_of(*Resolution)] | None = None
    priority: Annotated[list[Priority], SHORT] = []
    parent: BeadId | None = None
    q: Text = ""
    reason: Text = ""
    assignee: Text = ""
    agent: Text = ""
    created_since: Moment | None = None
    created_until: Moment | None = None
    updated_since: Moment | None = None
    updated_until: Moment | None = None


class BulkIn(ReasonIn):
    """One act on many beads. retry: as unblock. ids, or where: one of them. priority: the new one,
    of the act priority. dry_run: only say what would be.
    """

    act: Annotated[str, one_of(*ACTS)]
    ids: (
        Annotated[list[BeadId], Field(min_length=1, max_length=MAX_BULK), AfterValidator(each_once)]
        | None
    ) = None
    where: FilterIn | None = None
    priority: Priority | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def whole(self) -> Self:
        """What is asked for, and of which beads."""
        if (self.ids is None) == (self.where is None):
            raise PydanticCustomError("rule", "takes either ids or where")
        if self.where is not None and not self.where.model_fields_set:
            raise PydanticCustomError("rule", "where has to name what the beads have in common")
        if (ACTS[self.act] is Act.PRIORITY) == (self.priority is None):
            raise PydanticCustomError(
                "rule", "priority goes with the act priority, and only with it"
            )
        return self

    def bulk(self, projects: tuple[str, ...]) -> Bulk:
        """The domain's value. projects: that the caller may act in; empty: in all."""
        where = bead_filter(self.where, projects) if self.where else BeadFilter(projects=projects)
        return Bulk(
            ACTS[self.act],
            tuple(self.ids or ()),
            where or ALL,
            0 if self.priority is None else self.priority,
            self.dry_run,
        )
