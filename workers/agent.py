"""The agent in a pool process: claims a bead, works on it under its lease, reports, in that order.

It is made before the fork and opened after it: no channel or thread crosses a fork.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from loom.domain.evidence import FailureClass, Outcome
from loom.domain.identity import new_message_id
from loom.domain.outbox import Claim, ClaimVerdict
from loom.errors import Disposition, LoomError
from loom.messaging.envelope import Envelope
from loom.settings import AgentSettings
from loom.telemetry import logs, traces
from loom.telemetry.failpoints import failpoint
from workers import report, resending
from workers.artifacts import Keeper
from workers.attempt import Attempt
from workers.command import Leash
from workers.lease import Lease, LeaseLost
from workers.live import LiveLog, Log, Silent
from workers.means import Means
from workers.patience import Patience
from workers.report import Publishes
from workers.spool import Spool

REMEMBERED = 1_000
"""How many reported beads a process remembers, for their messages that come again."""

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
        spool: Spool,
        keeper: Keeper | None = None,
        log_publisher: Publishes | None = None,
        pause: Callable[[float], None] = time.sleep,
        let_go: Callable[[str], None] = lambda _bead_id: None,
    ) -> None:
        """name: in the ledger. home: where git finds the agent's own keys.

        keeper: of artifacts. log_publisher: for live logs, a connection of its own as it may be
        held up; None of either: there are none. let_go: has the message of a bead acknowledged
        before its end, as the lease alone holds the bead by now.
        """
        self._settings = settings
        self._name = name
        self._home = home
        self._ledger = ledger
        self._publisher = publisher
        self._spool = spool
        self._means = Means.of(settings, home, keeper)
        self._log_publisher = log_publisher
        self._pause = pause
        self._let_go = let_go
        self._reported: OrderedDict[str, int] = OrderedDict()

    def handle(self, assignment: Assignment) -> None:
        """See the assignment through; when it returns, the message may be acknowledged.

        Raises LedgerAway when the claim got no answer, and LoomError when the ledger refuses it.
        """
        if self._has_reported(assignment):
            log.info("result_sent_already", redelivered=assignment.redelivered)
            return
        claim, asked_at = self._claim(assignment)
        if claim.bead is None or claim.project is None:
            log.info("claim_not_granted", verdict=claim.verdict.value)
            return
        with logs.bound(epoch=claim.epoch, attempt=claim.attempt):
            log.info("claimed", redelivered=assignment.redelivered)
            leash = Leash()
            bead_id, epoch = assignment.bead_id, claim.epoch
            let_go_at = asked_at + self._settings.hold_s

            def renew() -> float:
                lease_s = self._ledger.renew_lease(bead_id, epoch, self._name)
                if time.monotonic() >= let_go_at:
                    self._let_go(bead_id)
                return lease_s

            lease = Lease(renew, claim.lease_s, asked_at, leash.pull)
            try:
                with lease:
                    self._see_through(assignment, claim, lease, leash)
            except LeaseLost as lost:
                # The ledger owes the bead a new message once the lease has run out.
                log.warning("attempt_abandoned", why=str(lost))

    def _claim(self, assignment: Assignment) -> tuple[Claim, float]:
        """The ledger's answer, and time.monotonic() from before it was asked."""
        request_id = new_message_id()
        patience = Patience(self._settings.claim_patience_s)
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
                pause_s = patience.next_pause(error.detail)
                log.warning("waiting", waiting_for="the ledger", why=error.detail)
            self._pause(pause_s)

    def _see_through(
        self, assignment: Assignment, claim: Claim, lease: Lease, leash: Leash
    ) -> None:
        failpoint("agent.claimed")
        with self._live(assignment, claim.epoch) as live:
            outcome = self._work(claim, lease, leash, live)
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
        if not self._deliver(envelope, assignment.bead_id, claim.epoch, lease):
            return
        failpoint("agent.reported")
        log.info(
            "attempt_reported",
            succeeded=outcome.succeeded,
            failure_class=outcome.failure_class.value if outcome.failure_class else None,
            reason=outcome.reason[:500],
            commits=[commit.sha for commit in outcome.commits],
        )

    def _deliver(self, envelope: Envelope, bead_id: str, epoch: int, lease: Lease) -> bool:
        """Publish the result until it is confirmed; False when it was left in the spool.

        What is not confirmed at once is on disk before it is tried again, so that this process may
        end at any time: whoever comes after it sends it. Raises LeaseLost when it no longer counts.
        """
        if report.publish(self._publisher, envelope):
            self.remember(bead_id, epoch)
            return True
        kept = self._keep(envelope, bead_id, epoch)
        try:
            report.deliver(self._publisher, envelope, lease.pause)
        except LeaseLost:
            if lease.over:
                self._spool.remove(bead_id, epoch)
                raise
            if not kept:
                raise
            log.warning("result_left_in_the_spool", why="the lease ended meanwhile")
            return False
        self._spool.remove(bead_id, epoch)
        self.remember(bead_id, epoch)
        return True

    def _keep(self, envelope: Envelope, bead_id: str, epoch: int) -> bool:
        try:
            self._spool.keep(bead_id, epoch, envelope)
        except OSError as error:
            log.error("result_not_spooled", why=str(error))
            return False
        log.warning("result_spooled", message_id=envelope.message_id)
        return True

    def remember(self, bead_id: str, epoch: int) -> None:
        """The broker has the result of that epoch."""
        self._reported[bead_id] = epoch
        while len(self._reported) > REMEMBERED:
            self._reported.popitem(last=False)

    def _has_reported(self, assignment: Assignment) -> bool:
        """Whether what the message asks for was done already, and the broker has the result.

        A claim would take the bead over from an attempt that has ended, before the ledger knows.
        """
        bead_id, epoch = assignment.bead_id, assignment.epoch
        patience = Patience(self._settings.claim_patience_s)
        while (spooled := self._spool.find(bead_id, epoch)) is not None:
            if resending.sent(self._spool, spooled, self._publisher) or not spooled.exists():
                return True
            self._pause(patience.next_pause("its result waits in the spool"))
        return self._reported.get(bead_id, 0) >= epoch

    @contextmanager
    def _live(self, assignment: Assignment, epoch: int) -> Iterator[Log]:
        """What tells whoever watches the bead."""
        if self._log_publisher is None:
            yield Silent()
            return
        live = LiveLog(
            self._log_publisher.publish,
            project_id=self._settings.project,
            bead_id=assignment.bead_id,
            epoch=epoch,
            correlation_id=assignment.correlation_id,
        )
        try:
            yield live
        finally:
            live.close()

    def _work(self, claim: Claim, lease: Lease, leash: Leash, live: Log) -> Outcome:
        assert claim.bead is not None and claim.project is not None  # noqa: S101 - granted
        attempt = Attempt(
            claim.bead,
            claim.project,
            claim.epoch,
            lease=lease,
            leash=leash,
            means=self._means,
            live=live,
            number=claim.attempt,
            previous=claim.previous,
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
