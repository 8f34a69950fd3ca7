"""The part of FakeLedger in which projects and beads are filed, and found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.clients.database import Filed, Page
from loom.database import cursor as cursors
from loom.database import decisions, filing
from loom.database.beads import closed as closed_project
from loom.database.beads import missing as missing_bead
from loom.database.changes import Changes, Event, Standing
from loom.database.projects import missing as missing_project
from loom.domain.audit import Intervention
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.lifecycle import State
from loom.domain.project import Project, ProjectState
from loom.errors import Conflict, IdempotencyKeyReused
from loom.testing.tables import Kept, Tables


class FakeFiling:
    """Calls on projects and new beads, on memory; FakeLedger has the others."""

    _tables: Tables
    _lock: Any
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    _tick: Callable[[], datetime]
    _check_links: Callable[[list[NewBead]], None]
    _note: Callable[..., None]

    def create_project(
        self, project: Project, correlation_id: str, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""), *, by: Intervention | None = None,
    ) -> Filed[Project]:  # fmt: skip
        """As the client."""
        checked = filing.check_project(project)
        who = by or Intervention("control", "", correlation_id, traceparent)

        def make() -> Filed[Project]:
            if checked.id in self._tables.projects:
                raise Conflict(
                    f"project {checked.id} exists already: leave out the id, or take another",
                    project_id=checked.id,
                )
            made = replace(checked, created_at=self._tick())
            self._tables.projects[made.id] = made
            data = {"name": made.name, "repository": made.repository}
            event = Event("project.created", made.id, "", 0, data, correlation_id, traceparent)
            self._apply(Changes(events=(event,)))
            self._note(who, "project.create", made.id, **data)
            return Filed((made,))

        return self._once(idempotency, make)

    def get_project(self, project_id: str) -> Project:
        """As the client."""
        with self._lock:
            if project_id not in self._tables.projects:
                raise missing_project(project_id)
            return self._tables.projects[project_id]

    def list_projects(
        self, page_size: int = 100, cursor: str = "", ids: Sequence[str] = ()
    ) -> Page[Project]:
        """As the client."""
        size = cursors.page_size(page_size, 100, 500)
        after = str(cursors.read(cursor, str)[0]) if cursor else ""
        with self._lock:
            found = sorted(
                (
                    p
                    for p in self._tables.projects.values()
                    if p.id > after and (not ids or p.id in ids)
                ),
                key=lambda p: p.id,
            )
        more = cursors.write(found[size - 1].id) if len(found) > size else ""
        return Page(tuple(found[:size]), more)

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], correlation_id: str,
        traceparent: str = "", idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Bead]:  # fmt: skip
        """As the client."""
        for bead in beads:
            filing.read_context(json.dumps(dict(bead.context)))
        asked = filing.check_beads(beads)

        def make() -> Filed[Bead]:
            if project_id not in self._tables.projects:
                raise missing_project(project_id)
            for bead in asked:
                if bead.id in self._tables.beads:
                    raise Conflict(
                        f"bead {bead.id} exists already: leave out the id, or take another",
                        bead_id=bead.id,
                    )
            if self._tables.projects[project_id].state is ProjectState.CLOSED:
                raise closed_project(project_id)
            self._check_links(list(asked))
            made = tuple(
                self._file(bead, project_id, correlation_id, traceparent) for bead in asked
            )
            return Filed(made)

        return self._once(idempotency, make)

    def _file(self, new: NewBead, project_id: str, correlation_id: str, traceparent: str) -> Bead:
        at = self._tick()
        bead = Bead(
            id=new.id, project_id=project_id, title=new.title, description=new.description,
            context=new.context, priority=new.priority, state=State.OPEN, epoch=0, version=1,
            correlation_id=correlation_id, created_at=at, updated_at=at,
            not_before=new.not_before, blocked_by=new.blocked_by, parent=new.parent,
            max_attempts=new.max_attempts,
        )  # fmt: skip
        self._tables.beads[new.id] = Kept(bead, traceparent)
        data = {"title": new.title, "priority": new.priority, "state": "open"}
        event = Event("bead.created", project_id, new.id, 0, data, correlation_id, traceparent)
        owed = decisions.owe(self._standing(new.id))
        self._apply(Changes(owed=(owed,), events=(event,)))
        return bead

    def _keep(self, bead: Bead, traceparent: str) -> None:
        self._tables.beads[bead.id] = Kept(bead, traceparent)

    def get_bead(self, bead_id: str) -> Bead:
        """As the client."""
        with self._lock:
            if bead_id not in self._tables.beads:
                raise missing_bead(bead_id)
            return self._tables.beads[bead_id].bead

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        """As the client."""
        self.get_bead(bead_id)
        with self._lock:
            return tuple(t.attempt for t in self._tables.tries.get(bead_id, ()))

    def _once(self, idempotency: tuple[str, str], make: Callable[[], Filed[Any]]) -> Filed[Any]:
        key, fingerprint = idempotency
        with self._lock:
            if key in self._tables.answers:
                known, answer = self._tables.answers[key]
                if known != fingerprint:
                    raise IdempotencyKeyReused(
                        "this idempotency key was used for another request: take a fresh key "
                        "for a fresh request"
                    )
                return Filed(answer.items, replayed=True)
            answer = make()
            if key:
                self._tables.answers[key] = (fingerprint, answer)
            return answer
