"""The part of FakeLedger about work that came from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from loom.clients.answers import Page
from loom.database import cursor as cursors
from loom.database import decisions, exporting, importing
from loom.database.changes import Changes, Event, Standing
from loom.domain.audit import Intervention, check_intervention
from loom.domain.bead import Bead
from loom.domain.comment import Comment
from loom.domain.identity import check_project_id, new_message_id
from loom.domain.imports import plan
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Origin, Said, Source
from loom.domain.imports.reading import Line
from loom.domain.imports.verdict import Here, New, Plan, Verdict
from loom.domain.lifecycle import State
from loom.domain.outbox import OutboxKind
from loom.domain.priority import rank, waiting_since
from loom.domain.project import Project


class FakeImports:
    """Calls about imports and exports, on memory."""

    _lock: Any
    _now: datetime
    _tables: Any
    _said: dict[str, Comment]
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    _keep: Callable[[Bead, str], None]
    get_bead: Callable[[str], Bead]
    get_project: Callable[[str], Project]

    def __init__(self) -> None:
        self._origins: dict[str, Origin] = {}

    def import_beads(
        self, project_id: str, source: Source, lines: Sequence[Line], by: Intervention, *,
        dry_run: bool = False, run: bool = False,
    ) -> tuple[Verdict, ...]:  # fmt: skip
        """As the client."""
        check_intervention(by)
        asked = importing.issues(source, lines)
        with self._lock:
            self.get_project(check_project_id(project_id))
            mine = {
                origin.external_id: origin
                for origin in self._origins.values()
                if (origin.project_id, origin.source) == (project_id, source)
            }
            views = {id_: self._view(id_) for id_ in self._tables.beads}
            links = tuple(
                (waiting, blocker)
                for waiting, others in self._edges_of_all().items()
                for blocker in others
            )
            made = plan.plan(asked, Here(project_id, mine, views, links), run=run)
            if not dry_run:
                self._bring_in(project_id, source, made, by)
            return made.verdicts

    def list_exports(self, project_id: str, page_size: int = 200, cursor: str = "") -> Page[View]:
        """As the client."""
        size = cursors.page_size(page_size, exporting.PAGE, exporting.LARGEST_PAGE)
        after = cursors.read_moment(cursor) if cursor else None
        with self._lock:
            self.get_project(check_project_id(project_id))
            found = sorted(
                (kept.bead.created_at, kept.bead.id)
                for kept in self._tables.beads.values()
                if kept.bead.project_id == project_id
            )
            found = [place for place in found if after is None or place > after]
            told = tuple(self._view(id_) for _, id_ in found[:size])
        more = cursors.write_moment(*found[size - 1]) if len(found) > size else ""
        return Page(told, more)

    def get_origin(self, bead_id: str) -> Origin | None:
        """As the client."""
        with self._lock:
            self.get_bead(bead_id)
            return self._origins.get(bead_id)

    def _edges_of_all(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for kept in self._tables.beads.values():
            bead: Bead = kept.bead
            if bead.state is not State.CLOSED:
                found.setdefault(bead.id, []).extend(bead.blocked_by)
            parent = self._tables.beads.get(bead.parent)
            if parent is not None and parent.bead.state is not State.CLOSED:
                found.setdefault(bead.parent, []).append(bead.id)
        return found

    def _view(self, bead_id: str) -> View:
        bead: Bead = self._tables.beads[bead_id].bead
        said = [each for each in self._said.values() if each.bead_id == bead_id]
        names = {id_: (o.source.value, o.external_id) for id_, o in self._origins.items()}
        origin = self._origins.get(bead_id)
        return View(
            bead,
            tuple(sorted(said, key=lambda each: (each.created_at, each.id))),
            origin,
            exporting.named((*bead.blocked_by, bead.parent), names, origin),
        )

    def _bring_in(self, project_id: str, source: Source, made: Plan, by: Intervention) -> None:
        for new in made.new:
            self._make(project_id, source, new, by)
            self._hear(new.origin.bead_id, project_id, source, new.issue.comments)
        for change in made.changed:
            kept = self._tables.beads[change.bead.id]
            self._origins[change.bead.id] = replace(change.origin, imported_at=self._now)
            self._hear(change.bead.id, project_id, source, change.comments)
            if change.words:
                kept.bead = replace(
                    change.bead, version=kept.bead.version + 1, updated_at=self._now
                )
                self._place_anew(kept.bead)
        standings = {each.bead.id: self._standing(each.bead.id) for each in made.changed}
        self._apply(importing.moves(made, standings, by))

    def _make(self, project_id: str, source: Source, new: New, by: Intervention) -> None:
        self._now += timedelta(microseconds=1)
        row = importing.row(0, new, self._now)
        begun, closed = row["begun_at"], row["closed_at"]
        bead = Bead(
            id=new.origin.bead_id, project_id=project_id, title=new.issue.title,
            description=new.issue.description, context=dict(new.issue.context),
            priority=new.issue.priority, state=new.state, resolution=new.resolution,
            reason=new.reason, epoch=0, version=1, correlation_id=by.correlation_id,
            created_at=datetime.fromisoformat(begun) if begun else self._now,
            updated_at=self._now, closed_at=datetime.fromisoformat(closed) if closed else None,
            not_before=new.issue.not_before, blocked_by=new.blocked_by, parent=new.parent,
        )  # fmt: skip
        self._keep(bead, by.traceparent)
        self._origins[bead.id] = replace(new.origin, imported_at=self._now)
        data = {
            "title": bead.title, "priority": bead.priority, "state": bead.state.value,
            "imported_from": source.value,
        }  # fmt: skip
        event = Event(
            "bead.created", project_id, bead.id, 0, data, by.correlation_id, by.traceparent
        )
        owed = (decisions.owe(self._standing(bead.id)),) if bead.state is State.OPEN else ()
        self._apply(Changes(owed=owed, events=(event,)))

    def _hear(self, bead_id: str, project_id: str, source: Source, said: Sequence[Said]) -> None:
        known = {
            (each.author, each.text, each.created_at)
            for each in self._said.values()
            if each.bead_id == bead_id
        }
        for each in said:
            if (each.author, each.text, each.at) not in known:
                id_ = f"cm-{new_message_id()}"
                self._said[id_] = Comment(
                    id_, project_id, bead_id, each.author, each.text, each.at, source=source.value
                )

    def _place_anew(self, bead: Bead) -> None:
        for due in self._tables.outbox.values():
            if due.row.kind is OutboxKind.TASK and due.row.bead_id == bead.id:
                due.rank = rank(bead.priority, waiting_since(bead.created_at, bead.not_before))
