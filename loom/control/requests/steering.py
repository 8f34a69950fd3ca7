"""What requests by which people act say: on agents, beads and dead letters; and lists of these."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from loom.control.requests.fields import ProjectId
from loom.control.requests.reading import STRICT, Paging
from loom.domain.audit import MAX_REASON
from loom.domain.identity import PROJECT_ID
from loom.domain.presence import AgentState
from loom.domain.replay import DEFAULT_RATE, MAX_RATE, LetterState

MAX_DEAD_LETTER_PAGE = 100

Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[!-~]*$")]
Reason = Annotated[str, StringConstraints(max_length=MAX_REASON, pattern=r"\S")]


class ReasonIn(BaseModel):
    """Why something is done."""

    model_config = STRICT

    reason: Reason


class ClaimIn(ReasonIn):
    """Who takes a bead by hand; null: who asks."""

    assignee: Annotated[str, StringConstraints(max_length=200, pattern=r"\S")] | None = None


class SettleIn(ReasonIn):
    """What is done to dead letters. dry_run: only say what would be."""

    dry_run: bool = False


class ReplayIn(SettleIn):
    """How a group is replayed. canary: one letter first, the others after it ended well."""

    rate_per_s: Annotated[float, Field(gt=0, le=MAX_RATE)] = DEFAULT_RATE
    canary: bool = False


class LetterQuery(Paging):
    """The query of a list of dead letters, which are large."""

    limit: Annotated[int, Field(ge=1, le=MAX_DEAD_LETTER_PAGE)] = 50
    project: ProjectId | None = None
    state: LetterState | None = None
    fingerprint: Name = ""


class GroupQuery(Paging):
    """The query of a list of groups."""

    project: Name = ""
    state: LetterState | None = None


class ReplayQuery(Paging):
    """The query of a list of replays."""

    fingerprint: Name = ""


class AuditQuery(Paging):
    """The query of the audit trail. action: as `bead.cancel` or `user.*`, apart by commas."""

    target: Name = ""
    action: Name = ""


class AgentQuery(Paging):
    """The query of a list of agents."""

    project: Annotated[str, StringConstraints(pattern=f"^(?:{PROJECT_ID.pattern})?$")] = ""
    state: AgentState | None = None
