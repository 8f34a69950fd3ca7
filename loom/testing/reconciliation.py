"""The part of FakeLedger that compares what it owes with what the broker holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from loom.database import reconcile
from loom.database.changes import Changes, Standing
from loom.database.reconcile_changes import LOST, reopened, reowed
from loom.domain.lifecycle import State
from loom.domain.outbox import OutboxKind
from loom.domain.reconciliation import Depth, Held, Mended, Reconciliation, compare, to_owe
from loom.messaging.deadletter import DeadLetter
from loom.testing.tables import Kept, Tables


class FakeReconciliation:
    """Reconciling, on memory; FakeLedger has the beads."""

    _tables: Tables
    _lock: Any
    _now: datetime
    _letters: list[DeadLetter]
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    expire_leases: Callable[..., tuple[int, int, int]]

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool = False, grace_s: float | None = None
    ) -> Reconciliation:
        """As the client."""
        due = self._now - timedelta(seconds=reconcile.check_grace(grace_s))
        with self._lock:
            age = timedelta(seconds=max((depth.age_s for depth in depths), default=0.0))
            held = [self._held(project_id, due, age) for project_id in self._tables.projects]
            queues = reconcile.queues_of(list(self._tables.projects), depths)
            accounts = compare(held, queues)
            if not repair:
                return Reconciliation(accounts)
            lost = [id_ for each in to_owe(accounts) for id_ in self._overdue(each, due - age)]
            stuck = [id_ for id_, kept in self._tables.beads.items() if self._adrift(kept, due)]
            changes = Changes()
            for id_ in lost:
                changes += reowed(self._standing(id_), LOST)
            for id_ in stuck:
                changes += reopened(self._standing(id_))
            self._apply(changes)
            for id_ in lost:
                self._tables.beads[id_].dispatched_epoch = 0
            over = any(each.held.expired for each in accounts)
            ended = self.expire_leases()[0] if over else 0
            return Reconciliation(accounts, Mended(len(lost), len(stuck), ended))

    def _held(self, project_id: str, due: datetime, age: timedelta) -> Held:
        beads = {k: b for k, b in self._tables.beads.items() if b.bead.project_id == project_id}
        tries = [
            one.attempt
            for id_ in beads
            for one in self._tables.tries.get(id_, ())
            if one.attempt.outcome == "running"
        ]
        return Held(
            project_id,
            owed=sum(self._is_owed(kept) for kept in beads.values()),
            dispatched=sum(self._on_broker(kept) for kept in beads.values()),
            overdue=len(self._overdue(project_id, due - age)),
            running=sum(attempt.claimed_at <= self._now - age for attempt in tries),
            expired=sum(attempt.lease_until <= due for attempt in tries),
            stuck=sum(self._adrift(kept, due) for kept in beads.values()),
            dead=sum(letter.project_id == project_id for letter in self._letters),
        )

    def _is_owed(self, kept: Kept) -> bool:
        return kept.bead.state is State.OPEN and any(
            due.row.kind is OutboxKind.TASK
            and (due.row.bead_id, due.row.epoch) == (kept.bead.id, kept.bead.epoch + 1)
            for due in self._tables.outbox.values()
        )

    def _on_broker(self, kept: Kept) -> bool:
        dispatched = kept.dispatched_epoch == kept.bead.epoch + 1
        return kept.bead.state is State.OPEN and dispatched and not self._is_owed(kept)

    def _overdue(self, project_id: str, due: datetime) -> list[str]:
        return [
            id_
            for id_, kept in self._tables.beads.items()
            if kept.bead.project_id == project_id
            and self._on_broker(kept)
            and kept.dispatched_at <= due
        ]

    def _adrift(self, kept: Kept, due: datetime) -> bool:
        if kept.bead.updated_at > due:
            return False
        if kept.bead.state is State.IN_PROGRESS:
            return self._standing(kept.bead.id).running is None
        sent = kept.dispatched_epoch == kept.bead.epoch + 1
        return kept.bead.state is State.OPEN and not sent and not self._is_owed(kept)
