"""FakeLedger: the database service in memory, for tests of the services that call it.

It carries out the same decisions as the real one and passes the same suite
(tests/contract/test_ledger_contract.py). Time stands still until `advance`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from loom.clients.database import Recorded
from loom.database import decisions, judging, reports, sub_beads
from loom.database.changes import Changes, Event, Running, Standing
from loom.database.claims import check_claim
from loom.database.expiry import expired
from loom.domain.bead import Attempt
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.outbox import Claim, ClaimVerdict, OutboxKind, OutboxRow
from loom.domain.priority import waiting_since
from loom.errors import Stale
from loom.messaging.result import ResultMessage
from loom.rpc import codec
from loom.testing.access import FakeAccess
from loom.testing.comments import FakeComments
from loom.testing.desk import FakeDesk
from loom.testing.events import FakeEvents
from loom.testing.filing import FakeFiling
from loom.testing.imports import FakeImports
from loom.testing.letters import FakeLetters
from loom.testing.logs import FakeLogs
from loom.testing.outbox import FakeOutbox
from loom.testing.presence import FakePresence
from loom.testing.reconciliation import FakeReconciliation
from loom.testing.statistics import FakeStatistics
from loom.testing.tables import Tables, Try
from loom.testing.waiting import FakeWaiting
from loom.testing.webhooks import FakeWebhooks

TICK = timedelta(microseconds=1)


class FakeLedger(
    FakeFiling,
    FakeReconciliation,
    FakeImports,
    FakeComments,
    FakeDesk,
    FakeLetters,
    FakeWaiting,
    FakeOutbox,
    FakePresence,
    FakeLogs,
    FakeEvents,
    FakeAccess,
    FakeStatistics,
    FakeWebhooks,
):
    """The methods of loom.clients.database.DatabaseClient, on memory; safe for threads."""

    _tables: Tables

    def __init__(
        self,
        lease_s: float = 30.0,
        outbox_lease_s: float = 15.0,
        jitter: Callable[[], float] = random.random,
        now: datetime | None = None,
    ) -> None:
        FakeOutbox.__init__(self)
        FakeLetters.__init__(self)
        FakeWaiting.__init__(self)
        FakePresence.__init__(self)
        FakeLogs.__init__(self)
        FakeComments.__init__(self)
        FakeImports.__init__(self)
        FakeAccess.__init__(self)
        FakeEvents.__init__(self)
        FakeWebhooks.__init__(self)
        self._lease_s = lease_s
        self._outbox_lease_s = outbox_lease_s
        self._jitter = jitter
        self._now = now or datetime.now(UTC)
        self._tables = Tables()
        self._lock = threading.RLock()
        self._added = threading.Condition(self._lock)

    @property
    def events(self) -> tuple[Event, ...]:
        """The journal."""
        return tuple(self._tables.events)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._added.notify_all()

    def close(self) -> None:
        """Nothing is open."""

    # The trip.

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool = False,
        request_id: str = "",
    ) -> Claim:  # fmt: skip
        """As the client."""
        request_id = request_id or new_message_id()
        check_claim(agent_id, request_id)
        with self._lock:
            if bead_id not in self._tables.beads:
                return Claim(ClaimVerdict.UNKNOWN)
            decision = decisions.claim(
                self._standing(bead_id), epoch, agent_id, request_id,
                lease_s=self._lease_s, redelivered=redelivered,
                held_back=self._held_back(bead_id, epoch),
            )  # fmt: skip
            if decision.verdict is ClaimVerdict.DEFERRED:
                self._apply(decision.changes)
            if decision.verdict is not ClaimVerdict.GRANTED:
                return Claim(decision.verdict)
            self._apply(decision.changes)
            bead = self._tables.beads[bead_id].bead
            earlier = [a for a in self.list_attempts(bead_id) if a.epoch < decision.epoch]
            return Claim(
                decision.verdict, decision.epoch, decision.attempt, decision.lease_s, bead,
                self._tables.projects[bead.project_id],
                earlier[-1].retold() if earlier else None,
            )  # fmt: skip

    def renew_lease(self, bead_id: str, epoch: int, agent_id: str) -> float:
        """As the client."""
        with self._lock:
            kept = self._tables.beads.get(bead_id)
            running = self._standing(bead_id).running if kept else None
            if (
                kept is None
                or running is None
                or (running.epoch, running.agent_id) != (epoch, agent_id)
                or running.lease_left_s <= 0
            ):
                raise Stale(f"the attempt of epoch {epoch} no longer holds bead {bead_id}")
            self._retry(bead_id, lambda a: replace(a, lease_until=self._lease_end()))
            return self._lease_s

    def record_results(self, results: Sequence[tuple[ResultMessage, str]]) -> tuple[Recorded, ...]:
        """As the client."""
        said = [reports.from_pb(codec.result_to_pb(m, traceparent)) for m, traceparent in results]
        with self._lock:
            standings = {
                r.bead_id: self._standing(r.bead_id)
                for r in said
                if r.bead_id in self._tables.beads
            }
            batch = judging.judge(said, standings, self._tables.inbox, self._jitter)
            self._apply(batch.changes)
            self._tables.inbox.update(batch.kept(said))
        return tuple(
            Recorded(report.message_id, judged.verdict, judged.detail)
            for report, judged in zip(said, batch.judged, strict=True)
        )

    def expire_leases(self, limit: int = 500) -> tuple[int, int, int]:
        """As the client."""
        with self._lock:
            over = [
                standing
                for standing in map(self._standing, self._tables.beads)
                if standing.running is not None and standing.running.lease_left_s <= 0
            ]
            changes = Changes()
            for standing in over[:limit]:
                changes += decisions.lost(standing, self._jitter())
            self._apply(changes)
            counts = expired(changes)
            return counts.lost, counts.retried, counts.blocked

    # What the tables hold.

    def _tick(self) -> datetime:
        self._now += TICK
        return self._now

    def _lease_end(self) -> datetime:
        return self._now + timedelta(seconds=self._lease_s)

    def _standing(self, bead_id: str) -> Standing:
        kept = self._tables.beads[bead_id]
        bead = kept.bead
        running = None
        for one in self._tables.tries.get(bead_id, ()):
            if one.attempt.outcome == "running":
                left_s = (one.attempt.lease_until - self._now).total_seconds()
                running = Running(one.attempt.epoch, one.attempt.agent_id, one.request_id, left_s)
        return Standing(
            id=bead.id, project_id=bead.project_id, state=bead.state, epoch=bead.epoch,
            attempts=kept.attempts, forgiven=kept.forgiven, version=bead.version,
            priority=bead.priority, correlation_id=bead.correlation_id,
            traceparent=kept.traceparent, reason=bead.reason, running=running,
            since=waiting_since(bead.created_at, bead.not_before), gated=self._gated(bead_id),
            max_attempts=bead.max_attempts
            or self._tables.projects[bead.project_id].max_attempts,
            allow_no_tests=self._tables.projects[bead.project_id].rules.allow_no_tests,
            generation=sub_beads.generation(bead.context.get(sub_beads.GENERATION)),
        )  # fmt: skip

    def _retry(self, bead_id: str, change: Callable[[Attempt], Attempt]) -> None:
        for one in self._tables.tries[bead_id]:
            if one.attempt.outcome == "running":
                one.attempt = change(one.attempt)

    def _apply(self, changes: Changes) -> None:
        at = self._now
        for move in changes.moved:
            kept = self._tables.beads[move.id]
            closed_at = at if move.state is State.CLOSED else None
            kept.bead = replace(
                kept.bead, state=move.state, resolution=move.resolution, reason=move.reason,
                epoch=move.epoch, version=kept.bead.version + 1, updated_at=at,
                closed_at=closed_at,
                commits=kept.bead.commits if move.commits is None else move.commits,
            )  # fmt: skip
            kept.attempts, kept.forgiven = move.attempts, move.forgiven
            if move.state is State.BLOCKED:
                kept.dispatched_epoch = 0
        for end in changes.ended:
            evidence = end.evidence
            self._retry(
                end.bead_id,
                lambda a, end=end, evidence=evidence: replace(  # type: ignore[misc]
                    a, outcome=end.outcome, finished_at=at, reason=evidence.reason,
                    failure_class=evidence.failure_class, steps=evidence.steps,
                    commits=evidence.commits, output=evidence.output,
                    artifacts=evidence.artifacts, notes=evidence.notes,
                ),
            )  # fmt: skip
        for start in changes.started:
            attempt = Attempt(
                start.bead_id, start.epoch, start.agent_id, "running", at,
                at + timedelta(seconds=start.lease_s),
            )  # fmt: skip
            self._tables.tries.setdefault(start.bead_id, []).append(Try(attempt, start.request_id))
        for id_, due in list(self._tables.outbox.items()):
            if due.row.kind is OutboxKind.TASK and due.row.bead_id in changes.withdrawn:
                del self._tables.outbox[id_]
        for recalled in changes.recalled:
            self._tables.beads[recalled].dispatched_epoch = 0
        for owed in changes.owed:
            self._owe_task(owed)
        for event in changes.events:
            message_id = new_message_id()
            self._tables.events.append(event)
            self._tell(event, message_id)
            self._owe(
                OutboxRow(
                    0, OutboxKind.EVENT, event.type, message_id, event.project_id,
                    event.bead_id, event.epoch, 0, event.correlation_id, event.traceparent, at,
                    dict(event.data),
                )
            )  # fmt: skip
        for filed in changes.filed:
            if filed.bead.id not in self._tables.beads:
                self._file(filed.bead, filed.project_id, filed.correlation_id, filed.traceparent)
