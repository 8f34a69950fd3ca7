"""What the routes that people act by ask of the ledger, and what such a request may say."""

from __future__ import annotations

from typing import Annotated, Protocol

from flask import g
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from loom.clients.answers import Page
from loom.clients.steering import GroupReplay
from loom.control import body
from loom.control.models import DeadLetterQuery, Paging, read_body
from loom.domain.audit import MAX_REASON, AuditLine, Intervention
from loom.domain.bead import Bead
from loom.domain.replay import DEFAULT_RATE, MAX_RATE, LetterGroup, LetterState, Replay
from loom.messaging.deadletter import DeadLetter
from loom.telemetry import traces

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[!-~]*$")]


class Steering(Protocol):
    """The calls of loom.clients.steering.SteeringCalls that the API stands on."""

    def cancel_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Give a bead up."""

    def unblock_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Let a blocked bead go on."""

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """One dead letter."""

    def list_dead_letters(
        self, project_id: str = "", page_size: int = 50, cursor: str = "", state: str = "",
        fingerprint: str = "",
    ) -> Page[DeadLetter]:  # fmt: skip
        """Dead letters, newest first."""

    def list_dead_letter_groups(
        self, project_id: str = "", state: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[LetterGroup]:
        """Groups of dead letters."""

    def replay_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """Send one letter on its way again."""

    def discard_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """Give one letter up."""

    def replay_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False,
        rate_per_s: float = 0.0, canary: bool = False,
    ) -> GroupReplay:  # fmt: skip
        """Begin the replay of a group."""

    def discard_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """Give up a group."""

    def list_replays(
        self, fingerprint: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Replay]:
        """Replays of groups, newest first."""

    def list_audit(
        self, target: str = "", action: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[AuditLine]:
        """The audit trail, newest first."""


class ReasonIn(BaseModel):
    """Why something is done."""

    model_config = _STRICT

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON, pattern=r"\S")]


class SettleIn(ReasonIn):
    """What is done to dead letters. dry_run: only say what would be."""

    dry_run: bool = False


class ReplayIn(SettleIn):
    """How a group is replayed. canary: one letter first, the others after it ended well."""

    rate_per_s: Annotated[float, Field(gt=0, le=MAX_RATE)] = DEFAULT_RATE
    canary: bool = False


class LetterQuery(DeadLetterQuery):
    """The query of a list of dead letters."""

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
    """The query of the audit trail."""

    target: Name = ""
    action: Name = ""


def reason_in_body() -> Intervention:
    """Who asks, and the reason in the body of the current request. Raises InvalidFields."""
    return by(read_body(ReasonIn, body.read()).reason)


def settle_in_body() -> SettleIn:
    """What the body of the current request says of letters. Raises InvalidFields."""
    return read_body(SettleIn, body.read())


def replay_in_body() -> ReplayIn:
    """What the body of the current request says of a replay. Raises InvalidFields."""
    return read_body(ReplayIn, body.read())


def by(reason: str) -> Intervention:
    """The caller of the current request, with this reason."""
    return Intervention(g.principal, reason, g.correlation_id, traces.traceparent())
