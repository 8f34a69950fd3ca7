"""The part of FakeLedger about what beads wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.database import amending, blockers, filing, projects
from loom.database.blockers import Known
from loom.database.changes import Changes, Standing
from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.fairness import Share, turns
from loom.domain.lifecycle import State, lets_go
from loom.domain.outbox import OutboxKind
from loom.domain.presence import Crew
from loom.domain.priority import rank, waiting_since
from loom.domain.project import STILL, Project, ProjectChange, ProjectState
from loom.domain.waiting import Blocker, Facts, Why, explain


class FakeWaiting:
    """Calls on projects' shares and limits, and on what beads wait for, on memory."""

    _tables: Any
    _lock: Any
    _now: datetime
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    get_bead: Callable[[str], Bead]
    get_project: Callable[[str], Project]
    _crew: Callable[[str], Crew]
    _note: Callable[..., None]

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}

    def update_project(
        self, project_id: str, change: ProjectChange, correlation_id: str,
        traceparent: str = "", *, expected_version: int = 0, by: Intervention | None = None,
    ) -> Project:  # fmt: skip
        """As the client."""
        filing.check_project_change(change)
        by = by or Intervention("control", "", correlation_id, traceparent)
        with self._lock:
            before = self.get_project(project_id)
            after = projects.changed(before, change, expected_version)
            if after == before:
                return before
            self._tables.projects[project_id] = after
            self._apply(Changes(events=(projects.told(after, change, by),)))
            self._note(by, projects.action(before, after), project_id, **change.given())
            return after

    def amend_bead(
        self, bead_id: str, amendment: Amendment, expected_version: int = 0,
        traceparent: str = "", by: Intervention | None = None,
    ) -> Bead:  # fmt: skip
        """As the client."""
        filing.check_amendment(bead_id, amendment)
        by = by or Intervention("control", "", "", traceparent)
        with self._lock:
            before = self.get_bead(bead_id)
            after = amendment.apply(before)
            amending.check_version(before, expected_version)
            if after == before:
                return before
            amending.check_state(before, after)
            amending.check_words(after)
            amending.check_links(before, after, self._known_beads(), self._links())
            self._tables.beads[bead_id].bead = replace(
                after, version=before.version + 1, updated_at=self._now
            )
            for due in self._tables.outbox.values():
                if due.row.kind is OutboxKind.TASK and due.row.bead_id == bead_id:
                    since = waiting_since(after.created_at, after.not_before)
                    due.rank = rank(after.priority, since)
                    if after.not_before != before.not_before:
                        due.available_at = max(self._now, since)
            self._apply(Changes(events=(amending.edited(after, by),)))
            self._note(by, "bead.edit", bead_id, edited=amending.differences(before, after))
            return self.get_bead(bead_id)

    def explain_bead(self, bead_id: str) -> Why:
        """As the client."""
        with self._lock:
            self.get_bead(bead_id)
            return explain(self._facts(bead_id))

    def _facts(self, bead_id: str) -> Facts:
        kept = self._tables.beads[bead_id]
        bead: Bead = kept.bead
        project: Project = self._tables.projects[bead.project_id]
        rows = [
            due
            for due in self._tables.outbox.values()
            if due.row.kind is OutboxKind.TASK and due.row.project_id == project.id
        ]
        own = next(
            (d for d in rows if (d.row.bead_id, d.row.epoch) == (bead_id, bead.epoch + 1)), None
        )
        running = self._standing(bead_id).running
        sent, in_progress = self._filled(project.id)
        return Facts(
            bead_id=bead_id, project_id=project.id, state=bead.state, now=self._now,
            created_at=bead.created_at, priority=bead.priority, resolution=bead.resolution,
            reason=bead.reason, not_before=bead.not_before, attempts=kept.attempts,
            blockers=tuple(
                Blocker(id_, other.state, other.resolution, child)
                for id_, child in self._waits_for(bead_id)
                if not lets_go((other := self._tables.beads[id_].bead).resolution)
            ),
            project_state=project.state, cap=project.max_in_progress, window=project.queue_window,
            owed=own is not None, leased=own is not None and own.leased_until > self._now,
            available_at=own.available_at if own else None, tries=own.tries if own else 0,
            last_error=own.last_error if own else "",
            sent=bead.state is State.OPEN and kept.dispatched_epoch == bead.epoch + 1,
            sent_at=kept.dispatched_at if kept.dispatched_epoch else None,
            in_progress=in_progress, sent_of_project=sent,
            leased_of_project=sum(due.leased_until > self._now for due in rows),
            ahead=sum(
                (due.rank, due.row.id) < (own.rank, own.row.id) for due in self._ready(rows)
            ) if own else 0,
            agent=running.agent_id if running else "",
            lease_left_s=running.lease_left_s if running else 0.0,
            crew=self._crew(project.id), assignee=bead.assignee,
        )  # fmt: skip

    # Whose turn it is.

    def _filled(self, project_id: str) -> tuple[int, int]:
        """How many beads of a project stand in its queue, and are in progress."""
        mine = [k for k in self._tables.beads.values() if k.bead.project_id == project_id]
        sent = sum(
            k.bead.state is State.OPEN and k.dispatched_epoch == k.bead.epoch + 1 for k in mine
        )
        return sent, sum(k.bead.state is State.IN_PROGRESS for k in mine)

    def _ready(self, rows: Iterable[Any]) -> list[Any]:
        """The rows of tasks that may go now, in the order in which they would."""
        ready = []
        for due in rows:
            project = self._tables.projects[due.row.project_id]
            begun = project.state is ProjectState.DRAINING and due.row.attempt > 1
            if (
                due.available_at <= self._now
                and due.leased_until <= self._now
                and not self._gated(due.row.bead_id)
                and (project.state is ProjectState.ACTIVE or begun)
            ):
                ready.append(due)
        return sorted(ready, key=lambda due: (due.rank, due.row.id))

    def _next_tasks(self, limit: int) -> list[Any]:
        """The rows of tasks that go next, in their order."""
        tasks = [d for d in self._tables.outbox.values() if d.row.kind is OutboxKind.TASK]
        ready: dict[str, list[Any]] = {}
        for due in self._ready(tasks):
            ready.setdefault(due.row.project_id, []).append(due)
        for project_id, rows in ready.items():
            project: Project = self._tables.projects[project_id]
            sent, in_progress = self._filled(project_id)
            underway = sent + sum(
                d.leased_until > self._now and d.row.project_id == project_id for d in tasks
            )
            free = project.queue_window - underway
            if project.max_in_progress:
                free = min(free, project.max_in_progress - underway - in_progress)
            del rows[max(0, free) :]
        return [ready[id_].pop(0) for id_ in self._turns(ready, limit)]

    def _turns(self, ready: Mapping[str, list[Any]], limit: int) -> tuple[str, ...]:
        counts = {id_: len(rows) for id_, rows in ready.items()}
        return turns(self._current_shares(), counts, limit)[0]

    def _served(self, project_ids: Iterable[str]) -> None:
        """Count these turns."""
        for id_ in project_ids:
            shares = self._current_shares()
            self._shares = turns(shares, {id_: 1}, 1)[1]

    def _current_shares(self) -> dict[str, Share]:
        return {
            id_: replace(self._shares.get(id_, Share(project.weight)), weight=project.weight)
            for id_, project in self._tables.projects.items()
        }

    # Who waits for whom.

    def _known_beads(self) -> dict[str, Known]:
        return {
            id_: Known(k.bead.state, k.bead.resolution) for id_, k in self._tables.beads.items()
        }

    def _links(self) -> list[tuple[str, str]]:
        return [
            (id_, blocker)
            for id_, kept in self._tables.beads.items()
            if kept.bead.state is not State.CLOSED
            for blocker, _ in self._waits_for(id_)
        ]

    def _waits_for(self, bead_id: str) -> list[tuple[str, bool]]:
        """Ids of the beads that have to succeed first, and whether each is a child."""
        named = self._tables.beads[bead_id].bead.blocked_by
        children = [k for k, other in self._tables.beads.items() if other.bead.parent == bead_id]
        return sorted([(id_, False) for id_ in named] + [(id_, True) for id_ in children])

    def _gated(self, bead_id: str) -> bool:
        known = self._tables.beads
        # One that is filed in the same request may be yet to come.
        return bool(known[bead_id].bead.assignee) or any(
            id_ not in known or not lets_go(known[id_].bead.resolution)
            for id_, _ in self._waits_for(bead_id)
        )

    def _check_links(self, beads: list[NewBead]) -> None:
        if blockers.linked(beads):
            blockers.check(beads, self._known_beads())
            blockers.check_circles(beads, self._links())

    def _held_back(self, bead_id: str, epoch: int) -> bool:
        """Whether a bead whose message came may not start, or not be started again, now."""
        kept = self._tables.beads[bead_id]
        project: Project = self._tables.projects[kept.bead.project_id]
        paused = project.state in STILL
        if kept.bead.state is not State.OPEN or kept.bead.epoch != epoch - 1:
            return paused
        draining = project.state is ProjectState.DRAINING and not kept.attempts
        early = kept.bead.not_before is not None and kept.bead.not_before > self._now
        cap = project.max_in_progress
        full = bool(cap) and self._filled(project.id)[1] >= cap
        return paused or draining or early or full or self._gated(bead_id)
