"""A project: a git repository with its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from loom.domain import rulebook
from loom.domain.rules import MAX_COMMAND_S, Rules
from loom.errors import IllegalTransition

DEFAULT_TIMEOUT_S = 900
MAX_TIMEOUT_S = MAX_COMMAND_S
DEFAULT_QUEUE_WINDOW = 32
"""How many beads of a project may stand in its queue at once: the ledger keeps the order of the
rest."""
DEFAULT_WEIGHT = 10
MAX_WEIGHT = 100
MAX_IN_PROGRESS = 10_000
MAX_ATTEMPTS = 100


class ProjectState(StrEnum):
    """Whether work of a project may start; beads are accepted in every state but one."""

    ACTIVE = "active"
    PAUSED = "paused"
    """Nothing starts, not even a further attempt; what runs goes on to its end."""
    DRAINING = "draining"
    """Beads that were begun are finished, further attempts included; no other is begun."""
    CLOSED = "closed"
    """As paused, and it takes no new beads; only a reopening leads out of it."""


STILL = frozenset({ProjectState.PAUSED, ProjectState.CLOSED})
"""States in which nothing starts."""


@dataclass(frozen=True, slots=True)
class Project:
    """A git repository with its rules.

    repository: what `git clone` takes. test_command: argv, run at the root of the checkout.
    timeout_s: wall-clock seconds for one command. queue_window: how many of its beads may be on
    the broker at once. state: whether its work may start. weight: its share of what is dispatched
    beside other projects, 1 to 100. max_in_progress: how many of its beads may be in progress at
    once, 0: any number. max_attempts: how many attempts a bead of it gets in all unless the bead
    says otherwise, 0: as many as each class of failure allows.
    """

    id: str
    repository: str
    name: str = ""
    default_branch: str = "main"
    test_command: tuple[str, ...] = ()
    timeout_s: int = DEFAULT_TIMEOUT_S
    queue_window: int = DEFAULT_QUEUE_WINDOW
    created_at: datetime | None = None
    soft_timeout_s: int = 0
    """Seconds after which a command is asked to end (SIGTERM), before timeout_s; 0: never."""
    state: ProjectState = ProjectState.ACTIVE
    weight: int = DEFAULT_WEIGHT
    max_in_progress: int = 0
    max_attempts: int = 0
    rules: Rules = field(default_factory=Rules)
    version: int = 1
    """Grows with every change, for optimistic edits."""


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """What is to change of a project; None stays as it is.

    rules: those that are to change, as JSON has them; null takes one back to its default.
    """

    name: str | None = None
    repository: str | None = None
    default_branch: str | None = None
    test_command: tuple[str, ...] | None = None
    timeout_s: int | None = None
    soft_timeout_s: int | None = None
    state: ProjectState | None = None
    weight: int | None = None
    max_in_progress: int | None = None
    max_attempts: int | None = None
    queue_window: int | None = None
    rules: Mapping[str, Any] | None = None

    def given(self) -> Mapping[str, Any]:
        """The fields that are to change, with their new values."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def apply(self, project: Project) -> Project:
        """The project as it is then, but for its version. Raises IllegalTransition, Invalid."""
        closed = project.state is ProjectState.CLOSED
        if closed and self.state in (ProjectState.PAUSED, ProjectState.DRAINING):
            raise IllegalTransition(
                f"project {project.id} is closed: reopen it first, `loom project reopen "
                f"{project.id}`",
                project_id=project.id,
                state=project.state.value,
            )
        given = dict(self.given())
        if self.rules is not None:
            given["rules"] = rulebook.read(self.rules, project.rules)
        if self.name is not None:
            given["name"] = self.name or project.id
        return replace(project, **given)
