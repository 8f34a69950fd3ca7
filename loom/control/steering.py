"""What the routes that people act by ask of the ledger, and what such a request may say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flask import g

from loom.clients.answers import Page
from loom.control import body
from loom.control.requests.reading import read_body
from loom.control.requests.steering import ReasonIn, ReplayIn, SettleIn
from loom.domain.audit import AuditLine, Intervention
from loom.domain.bead import Bead
from loom.domain.bulk import Bulk, BulkAnswer
from loom.domain.replay import GroupReplay, LetterGroup, Replay
from loom.messaging.deadletter import DeadLetter
from loom.telemetry import traces


class Steering(Protocol):
    """The calls of loom.clients.steering.SteeringCalls that the API stands on."""

    def cancel_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Give a bead up."""

    def unblock_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Let a blocked bead go on."""

    def assign_bead(self, bead_id: str, assignee: str, by: Intervention) -> Bead:
        """Give a bead to a person, or back to the agents."""

    def act_on_beads(self, bulk: Bulk, by: Intervention) -> BulkAnswer:
        """Do the same to many beads."""

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """One dead letter."""

    def list_dead_letters(
        self, project_id: str = "", page_size: int = 50, cursor: str = "", state: str = "",
        fingerprint: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[DeadLetter]:  # fmt: skip
        """Dead letters, newest first."""

    def list_dead_letter_groups(
        self, project_id: str = "", state: str = "", page_size: int = 50, cursor: str = "",
        *, project_ids: Sequence[str] = (),
    ) -> Page[LetterGroup]:  # fmt: skip
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
    return Intervention(g.principal.name, reason, g.correlation_id, traces.traceparent())
