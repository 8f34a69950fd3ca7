"""The part of FakeLedger that owes messages and leases them to dispatchers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from loom.database.changes import Owed
from loom.domain.identity import new_message_id
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.domain.priority import rank
from loom.errors import Invalid
from loom.testing.tables import NEVER, Due, Tables


class FakeOutbox:
    """Calls on the outbox, on memory; FakeLedger has the others."""

    _tables: Tables
    _lock: Any
    _added: threading.Condition
    _now: datetime
    _outbox_lease_s: float
    _next_tasks: Callable[[int], Sequence[Due]]
    _served: Callable[[Iterable[str]], None]

    def __init__(self) -> None:
        self._next_id = 1

    def lease_outbox(self, owner: str, limit: int, wait_ms: int = 0) -> tuple[OutboxRow, ...]:
        """As the client; waiting is for another thread to add a row."""
        if not owner or limit < 1:
            raise Invalid("a lease needs an owner, and a limit from 1", field="owner")
        with self._lock:
            leased = self._lease(owner, limit)
            if not leased and wait_ms:
                self._added.wait(wait_ms / 1000)
                leased = self._lease(owner, limit)
            return leased

    def _lease(self, owner: str, limit: int) -> tuple[OutboxRow, ...]:
        events = sorted(
            (
                due
                for due in self._tables.outbox.values()
                if due.row.kind is not OutboxKind.TASK
                and max(due.leased_until, due.available_at) <= self._now
            ),
            key=lambda due: due.row.id,
        )
        turns = [(turn, 0, due) for turn, due in enumerate(self._next_tasks(limit))]
        turns += [(turn, 1, due) for turn, due in enumerate(events)]
        picked = [d for _, _, d in sorted(turns, key=lambda turn: turn[:2])[:limit]]
        self._served(d.row.project_id for d in picked if d.row.kind is OutboxKind.TASK)
        for waiting in picked:
            waiting.owner = owner
            waiting.leased_until = self._now + timedelta(seconds=self._outbox_lease_s)
            waiting.tries += 1
        return tuple(self._with_words(waiting.row) for waiting in picked)

    def _with_words(self, row: OutboxRow) -> OutboxRow:
        if row.kind is not OutboxKind.TASK:
            return row
        bead = self._tables.beads[row.bead_id].bead
        payload = {
            "title": bead.title, "description": bead.description, "context": bead.context,
        }  # fmt: skip
        return replace(row, payload=payload)

    def settle_outbox(
        self, owner: str, published: Sequence[int], unsettled: Sequence[tuple[int, str]] = ()
    ) -> tuple[int, int]:
        """As the client."""
        with self._lock:
            gone = [i for i in dict.fromkeys(published) if self._owned(i, owner)]
            for id_ in gone:
                row = self._tables.outbox.pop(id_).row
                if row.kind is OutboxKind.TASK:
                    kept = self._tables.beads[row.bead_id]
                    if kept.dispatched_epoch < row.epoch:
                        kept.dispatched_epoch, kept.dispatched_at = row.epoch, self._now
            put_off = [(i, why) for i, why in unsettled if self._owned(i, owner)]
            for id_, why in put_off:
                waiting = self._tables.outbox[id_]
                waiting.last_error = why
                waiting.owner = ""
                waiting.leased_until = self._now
                delay_s = min(60.0, 0.5 * 2**waiting.tries)
                waiting.available_at = self._now + timedelta(seconds=delay_s)
            return len(gone), len(put_off)

    def _owned(self, id_: int, owner: str) -> bool:
        waiting = self._tables.outbox.get(id_)
        return waiting is not None and waiting.owner == owner

    def _owe_task(self, owed: Owed) -> None:
        row = OutboxRow(
            0, OutboxKind.TASK, "task.assigned", new_message_id(), owed.project_id, owed.bead_id,
            owed.epoch, owed.attempt, owed.correlation_id, owed.traceparent, self._now,
        )  # fmt: skip
        due_in_s = max(owed.delay_s, (owed.since - self._now).total_seconds())
        self._owe(row, due_in_s, rank(owed.priority, owed.since))

    def _owe(self, row: OutboxRow, delay_s: float = 0.0, place: datetime = NEVER) -> None:
        id_, self._next_id = self._next_id, self._next_id + 1
        self._tables.outbox[id_] = Due(
            replace(row, id=id_), self._now + timedelta(seconds=delay_s), place
        )
        self._added.notify_all()
