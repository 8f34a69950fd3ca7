"""The agent in a pool process: claims a bead, works on it under its lease, reports, in that order.

It is made before the fork and opened after it: no channel or thread crosses a fork.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from loom.domain.evidence import FailureClass, Outcome
from loom.domain.identity import new_message_id
from loom.domain.outbox import Claim, ClaimVerdict
from loom.errors import Disposition, LoomError
from loom.settings import AgentSettings
from loom.telemetry import logs, traces
from loom.telemetry.failpoints import failpoint
from workers import report
from workers.attempt import Attempt
from workers.command import Leash
from workers.lease import Lease, LeaseLost
from workers.report import Publishes

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

log = logs.get(__name__)


class Ledger(Protocol):
    """What the agent asks the database service."""

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool, request_id: str
    ) -> Claim:
        """Claim a bead under the epoch of its task message."""
        ...

    def renew_lease(self, bead_id: str, epoch: int, agent_id: str) -> float:
        """Seconds the lease now lasts; raises Stale."""
        ...


class LedgerAway(Exception):
    """The ledger gave no answer to a claim in the time that a task may wait for it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task message as it was delivered, once it was found readable."""

    bead_id: str
    epoch: int
    correlation_id: str
    redelivered: bool


class Agent:
    """Works on one bead at a time."""

    def __init__(
        self,
        settings: AgentSettings,
        name: str,
        home: Path,
        *,
        ledger: Ledger,
        publisher: Publishes,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """name: in the ledger. home: where git finds the agent's own keys."""
        self._settings = settings
        self._name = name
        self._home = home
        self._ledger = ledger
        self._publisher = publisher
        self._pause = pause

    def handle(self, assignment: Assignment) -> None:
        """See the assignment through; when it returns, the message may be acknowledged.

        Raises LedgerAway when the claim got no answer, and LoomError when the ledger refuses it.
        """
        claim, asked_at = self._claim(assignment)
        if claim.bead is None or claim.project is None:
            log.info("claim_not_granted", verdict=claim.verdict.value)
            return
        with logs.bound(epoch=claim.epoch, attempt=claim.attempt):
            log.info("claimed", redelivered=assignment.redelivered)
            leash = Leash()
            bead_id, epoch = assignment.bead_id, claim.epoch
            lease = Lease(
                lambda: self._ledger.renew_lease(bead_id, epoch, self._name),
                claim.lease_s,
                asked_at,
                leash.pull,
            )
            try:
                with lease:
                    self._see_through(assignment, claim, lease, leash)
            except LeaseLost as lost:
                # The ledger owes the bead a new message once the lease has run out.
                log.warning("attempt_abandoned", why=str(lost))

    def _claim(self, assignment: Assignment) -> tuple[Claim, float]:
        """The ledger's answer, and time.monotonic() from before it was asked."""
        request_id = new_message_id()
        give_up_at = time.monotonic() + self._settings.claim_patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            asked_at = time.monotonic()
            try:
                claim = self._ledger.claim_bead(
                    assignment.bead_id,
                    assignment.epoch,
                    self._name,
                    redelivered=assignment.redelivered,
                    request_id=request_id,
                )
                return claim, asked_at
            except LoomError as error:
                if error.meaning.disposition is Disposition.ACK:
                    return Claim(ClaimVerdict.STALE), asked_at
                if error.meaning.disposition is not Disposition.RETRY:
                    raise
                # Waiting here spends no delivery: the broker gives a message up after 20 of them.
                if time.monotonic() + pause_s >= give_up_at:
                    raise LedgerAway(error.detail) from error
                log.warning("waiting", waiting_for="the ledger", why=error.detail)
            self._pause(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _see_through(
        self, assignment: Assignment, claim: Claim, lease: Lease, leash: Leash
    ) -> None:
        failpoint("agent.claimed")
        outcome = self._work(claim, lease, leash)
        failpoint("agent.worked")
        envelope = report.compose(
            outcome,
            message_id=new_message_id(),
            project_id=self._settings.project,
            bead_id=assignment.bead_id,
            agent_id=self._name,
            epoch=claim.epoch,
            correlation_id=assignment.correlation_id,
            timestamp=datetime.now(UTC),
            traceparent=traces.traceparent(),
        )
        report.deliver(self._publisher, envelope, lease, lease.pause)
        failpoint("agent.reported")
        log.info(
            "attempt_reported",
            succeeded=outcome.succeeded,
            failure_class=outcome.failure_class.value if outcome.failure_class else None,
            reason=outcome.reason[:500],
            commits=[commit.sha for commit in outcome.commits],
        )

    def _work(self, claim: Claim, lease: Lease, leash: Leash) -> Outcome:
        assert claim.bead is not None and claim.project is not None  # noqa: S101 - granted
        attempt = Attempt(
            claim.bead,
            claim.project,
            claim.epoch,
            lease=lease,
            leash=leash,
            root=self._settings.workspace,
            home=self._home,
            path=self._settings.path,
            git_timeout_s=self._settings.git_timeout_s,
        )
        try:
            return attempt.run()
        except LeaseLost:
            raise
        except Exception as error:
            log.exception("attempt_failed_unexpectedly")
            return Outcome(
                succeeded=False,
                failure_class=FailureClass.INFRA,
                reason=f"the agent has a fault: {type(error).__name__}: {error}",
            )
