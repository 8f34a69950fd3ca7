"""The part of FakeLedger that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any

from loom.database.statistics import first_start
from loom.domain.bead import Bead
from loom.domain.lifecycle import Resolution, State, lets_go
from loom.domain.outbox import OutboxKind
from loom.domain.replay import LetterState
from loom.domain.statistics import (
    Bucket,
    Flow,
    ProjectFlow,
    Relative,
    Series,
    Spread,
    Trip,
    check_window,
)

MINUTE = timedelta(minutes=1)


class FakeStatistics:
    """Counts, on memory."""

    _tables: Any
    _lock: Any
    _now: datetime
    _letters: list[Any]
    get_bead: Callable[[str], Bead]

    def flow(self, project_ids: Sequence[str] = ()) -> Flow:
        """As the client."""
        with self._lock:
            named = {
                *(kept.bead.project_id for kept in self._tables.beads.values()),
                *(letter.project_id for letter in self._open_letters()),
            }
            events = [
                due.row.created_at
                for due in self._tables.outbox.values()
                if due.row.kind is OutboxKind.EVENT
                and (not project_ids or due.row.project_id in project_ids)
            ]
            errors = [due.last_error for due in self._tables.outbox.values() if due.last_error]
            flows = [
                self._flow_of(name)
                for name in sorted(named)
                if not project_ids or name in project_ids
            ]
            return Flow(
                self._now,
                tuple(each for each in flows if each != ProjectFlow(each.project_id)),
                len(events),
                self._age(events),
                max(errors, default=""),
            )

    def series(self, window_s: int, buckets: int, project_ids: Sequence[str] = ()) -> Series:
        """As the client."""
        check_window(window_s, buckets)
        width = window_s / buckets
        with self._lock:
            first = first_start(self._now, width, buckets)
            return Series(
                width,
                tuple(
                    self._bucket(first + timedelta(seconds=width * n), width, project_ids)
                    for n in range(buckets)
                ),
            )

    def trip(self, bead_id: str) -> Trip:
        """As the client."""
        bead = self.get_bead(bead_id)
        with self._lock:
            kept = self._tables.beads[bead_id]
            owed = next(
                (
                    due
                    for due in self._tables.outbox.values()
                    if due.row.kind is OutboxKind.TASK
                    and (due.row.bead_id, due.row.epoch) == (bead_id, bead.epoch + 1)
                ),
                None,
            )
            return Trip(
                dispatched_at=kept.dispatched_at if kept.dispatched_epoch else None,
                dispatched_epoch=kept.dispatched_epoch,
                owed_at=owed.row.created_at if owed else None,
                available_at=owed.available_at if owed else None,
                tries=owed.tries if owed else 0,
                last_error=owed.last_error if owed else "",
                relatives=tuple(sorted(self._relatives(bead), key=lambda r: (r.kind, r.id))),
            )

    def _flow_of(self, project_id: str) -> ProjectFlow:
        keeps = [k for k in self._tables.beads.values() if k.bead.project_id == project_id]
        beads = [kept.bead for kept in keeps]
        states = [bead.state for bead in beads]
        tasks = [
            due
            for due in self._tables.outbox.values()
            if due.row.kind is OutboxKind.TASK and due.row.project_id == project_id
        ]
        free = [t for t in tasks if t.available_at <= self._now and not self._waits(t.row.bead_id)]
        queued = [
            kept.dispatched_at
            for kept in keeps
            if kept.bead.state is State.OPEN and kept.dispatched_epoch == kept.bead.epoch + 1
        ]
        tries = [t.attempt for b in beads for t in self._tables.tries.get(b.id, ())]
        running = [each for each in tries if each.outcome == "running"]
        dead = [letter for letter in self._open_letters() if letter.project_id == project_id]
        return ProjectFlow(
            project_id,
            open=states.count(State.OPEN),
            in_progress=states.count(State.IN_PROGRESS),
            blocked=states.count(State.BLOCKED),
            owed=len(tasks),
            held=len(tasks) - len(free),
            oldest_owed_s=self._age(max(t.row.created_at, t.available_at) for t in free),
            queued=len(queued),
            oldest_queued_s=self._age(queued),
            oldest_running_s=self._age(each.claimed_at for each in running),
            overdue=sum(each.lease_until < self._now for each in running),
            dead=len(dead),
            oldest_dead_s=self._age(letter.recorded_at for letter in dead),
            filed=self._lately(bead.created_at for bead in beads),
            claimed=self._lately(each.claimed_at for each in tries),
            recorded=self._lately(each.finished_at for each in tries),
            closed=self._lately(bead.closed_at for bead in beads),
        )

    def _bucket(self, start: datetime, width_s: float, project_ids: Sequence[str]) -> Bucket:
        end = start + timedelta(seconds=width_s)

        def here(moment: datetime | None) -> bool:
            return moment is not None and start <= moment < end

        keeps = [
            kept
            for kept in self._tables.beads.values()
            if not project_ids or kept.bead.project_id in project_ids
        ]
        closed = [kept.bead for kept in keeps if here(kept.bead.closed_at)]
        ended = [
            (kept, each.attempt)
            for kept in keeps
            for each in self._tables.tries.get(kept.bead.id, ())
            if here(each.attempt.finished_at)
        ]
        ends = [bead.resolution for bead in closed]
        return Bucket(
            start,
            filed=sum(here(kept.bead.created_at) for kept in keeps),
            succeeded=ends.count(Resolution.SUCCEEDED),
            failed=ends.count(Resolution.FAILED),
            cancelled=ends.count(Resolution.CANCELLED),
            attempts=len(ended),
            pickup=_spread(
                attempt.claimed_at - kept.dispatched_at
                for kept, attempt in ended
                if kept.dispatched_epoch == attempt.epoch
            ),
            run=_spread(attempt.finished_at - attempt.claimed_at for _, attempt in ended),
            trip=_spread(bead.closed_at - bead.created_at for bead in closed),
        )

    def _relatives(self, bead: Bead) -> Iterable[Relative]:
        for kept in self._tables.beads.values():
            other = kept.bead
            kinds = {
                "blocker": other.id in bead.blocked_by,
                "parent": other.id == bead.parent,
                "child": other.parent == bead.id,
                "dependent": bead.id in other.blocked_by and self._waits(other.id),
            }
            for kind in (kind for kind, so in kinds.items() if so):
                yield Relative(
                    kind, other.id, other.title, other.project_id, other.state, other.resolution
                )

    def _waits(self, bead_id: str) -> bool:
        """Whether other beads have to succeed first."""
        bead = self._tables.beads[bead_id].bead
        others = [self._tables.beads[id_].bead for id_ in bead.blocked_by]
        others += [k.bead for k in self._tables.beads.values() if k.bead.parent == bead_id]
        return any(not lets_go(other.resolution) for other in others)

    def _open_letters(self) -> list[Any]:
        return [each for each in self._letters if each.state is LetterState.OPEN]

    def _age(self, moments: Iterable[datetime]) -> float:
        oldest = min(moments, default=None)
        return (self._now - oldest).total_seconds() if oldest else 0.0

    def _lately(self, moments: Iterable[datetime | None]) -> int:
        return sum(moment is not None and moment > self._now - MINUTE for moment in moments)


def _spread(spans: Iterable[timedelta]) -> Spread | None:
    seconds = sorted(span.total_seconds() for span in spans)
    if not seconds:
        return None
    if len(seconds) == 1:
        return Spread(seconds[0], seconds[0])
    parts = quantiles(seconds, n=20, method="inclusive")
    return Spread(parts[9], parts[18])
