"""A ledger in memory with the calls of the control plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from loom.clients.database import Filed, Page
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.identity import new_bead_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.errors import Conflict, IdempotencyKeyReused, Invalid, NotFound
from loom.messaging.deadletter import DeadLetter

T = TypeVar("T")


class MemoryLedger:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}
        self.beads: dict[str, Bead] = {}
        self.attempts: dict[str, tuple[Attempt, ...]] = {}
        self.letters: list[DeadLetter] = []
        self.traceparents: list[str] = []
        self._answers: dict[str, tuple[str, object]] = {}

    def create_project(
        self, project: Project, correlation_id: str, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Project]:  # fmt: skip
        def work() -> Project:
            if project.id in self.projects:
                raise Conflict(f"project {project.id} exists", project_id=project.id)
            made = Project(
                project.id, project.repository, project.name or project.id,
                project.default_branch, project.test_command, project.timeout_s,
                project.queue_window, datetime.now(UTC),
            )  # fmt: skip
            self.projects[project.id] = made
            return made

        made, replayed = self._once(idempotency, work)
        return Filed((made,), replayed)

    def get_project(self, project_id: str) -> Project:
        if project_id not in self.projects:
            raise NotFound(f"there is no project {project_id}", project_id=project_id)
        return self.projects[project_id]

    def list_projects(self, page_size: int = 100, cursor: str = "") -> Page[Project]:
        return _page([self.projects[key] for key in sorted(self.projects)], page_size, cursor)

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], correlation_id: str,
        traceparent: str = "", idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Bead]:  # fmt: skip
        def work() -> tuple[Bead, ...]:
            self.get_project(project_id)
            ids = [bead.id for bead in beads if bead.id]
            for bead_id in ids:
                if bead_id in self.beads or ids.count(bead_id) > 1:
                    raise Conflict(f"bead {bead_id} exists", bead_id=bead_id)
            now = datetime.now(UTC)
            made = tuple(
                Bead(
                    bead.id or new_bead_id(), project_id, bead.title, State.OPEN, 0, 1,
                    correlation_id, now, now, bead.description, bead.context, bead.priority,
                )
                for bead in beads
            )  # fmt: skip
            self.beads |= {bead.id: bead for bead in made}
            self.traceparents.append(traceparent)
            return made

        made, replayed = self._once(idempotency, work)
        return Filed(made, replayed)

    def get_bead(self, bead_id: str) -> Bead:
        if bead_id not in self.beads:
            raise NotFound(f"there is no bead {bead_id}", bead_id=bead_id)
        return self.beads[bead_id]

    def list_beads(
        self, project_id: str = "", states: Sequence[str] = (), resolution: str = "",
        page_size: int = 50, cursor: str = "",
    ) -> Page[Bead]:  # fmt: skip
        found = [
            bead
            for bead in reversed(self.beads.values())
            if (not project_id or bead.project_id == project_id)
            and (not states or bead.state.value in states)
            and (not resolution or bead.resolution == resolution)
        ]
        return _page(found, page_size, cursor)

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        self.get_bead(bead_id)
        return self.attempts.get(bead_id, ())

    def list_dead_letters(
        self, project_id: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[DeadLetter]:
        found = [each for each in self.letters if project_id in ("", each.project_id)]
        return _page(found[::-1], page_size, cursor)

    def _once(self, idempotency: tuple[str, str], work: Callable[[], T]) -> tuple[T, bool]:
        key, fingerprint = idempotency
        if key in self._answers:
            before, answer = self._answers[key]
            if before != fingerprint:
                raise IdempotencyKeyReused("this key was used for another request")
            return answer, True  # type: ignore[return-value]
        made = work()
        if key:
            self._answers[key] = (fingerprint, made)
        return made, False


def _page(items: list[T], size: int, cursor: str) -> Page[T]:
    try:
        start = int(cursor or 0)
    except ValueError as error:
        raise Invalid("no such cursor", field="cursor") from error
    more = len(items) > start + size
    return Page(tuple(items[start : start + size]), str(start + size) if more else "")
