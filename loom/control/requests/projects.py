"""What requests say of projects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from loom.control.problem import Fault, InvalidFields
from loom.control.requests.fields import (
    MAX_TITLE,
    MAX_WORDS,
    Argv,
    Attempts,
    ProjectId,
    SoftTimeout,
    Timeout,
    Word,
    one_line,
    rule,
)
from loom.control.requests.reading import STRICT, read_body
from loom.domain.gitnames import branch_fault, repository_fault
from loom.domain.project import (
    DEFAULT_QUEUE_WINDOW,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WEIGHT,
    MAX_IN_PROGRESS,
    MAX_WEIGHT,
    Project,
    ProjectChange,
    ProjectState,
)
from loom.domain.rulebook import RulesIn
from loom.domain.rules import Rules

MAX_QUEUE_WINDOW = 10_000


def _project_state(text: str) -> str:
    known = [state.value for state in ProjectState]
    return "" if text in known else f"is one of {', '.join(known)}"


Window = Annotated[int, Field(ge=1, le=MAX_QUEUE_WINDOW)]
Weight = Annotated[int, Field(ge=1, le=MAX_WEIGHT)]
Cap = Annotated[int, Field(ge=0, le=MAX_IN_PROGRESS)]
Name = Annotated[str, StringConstraints(max_length=MAX_TITLE), rule(one_line)]
Repository = Annotated[str, rule(repository_fault)]
Branch = Annotated[str, rule(branch_fault)]
StateOfProject = Annotated[
    str, rule(_project_state), Field(json_schema_extra={"enum": [s.value for s in ProjectState]})
]


class ProjectIn(BaseModel):
    """A project as a request makes it."""

    model_config = STRICT

    id: ProjectId
    repository: Repository
    name: Name = ""
    default_branch: Branch = "main"
    test_command: Argv | None = None
    timeout_s: Timeout = DEFAULT_TIMEOUT_S
    soft_timeout_s: SoftTimeout = 0
    queue_window: Window = DEFAULT_QUEUE_WINDOW
    state: StateOfProject = ProjectState.ACTIVE
    weight: Weight = DEFAULT_WEIGHT
    max_in_progress: Cap = 0
    max_attempts: Attempts = 0
    rules: RulesIn = RulesIn()

    def project(self) -> Project:
        """The domain's value."""
        return Project(
            id=self.id,
            repository=self.repository,
            name=self.name,
            default_branch=self.default_branch,
            test_command=tuple(self.test_command or ()),
            timeout_s=self.timeout_s,
            soft_timeout_s=self.soft_timeout_s,
            queue_window=self.queue_window,
            state=ProjectState(self.state),
            weight=self.weight,
            max_in_progress=self.max_in_progress,
            max_attempts=self.max_attempts,
            rules=self.rules.applied(Rules()),
        )


class ProjectPatch(BaseModel):
    """What a request changes of a project. test_command: [] for none."""

    model_config = STRICT

    name: Name | None = None
    repository: Repository | None = None
    default_branch: Branch | None = None
    test_command: Annotated[list[Word], Field(max_length=MAX_WORDS)] | None = None
    timeout_s: Timeout | None = None
    soft_timeout_s: SoftTimeout | None = None
    state: StateOfProject | None = None
    weight: Weight | None = None
    max_in_progress: Cap | None = None
    max_attempts: Attempts | None = None
    queue_window: Window | None = None
    rules: RulesIn | None = None

    def change(self) -> ProjectChange:
        """The domain's value."""
        given = self.model_dump(exclude_none=True, exclude={"rules"})
        if self.rules is not None:
            given["rules"] = self.rules.model_dump(exclude_unset=True)
        if self.state:
            given["state"] = ProjectState(self.state)
        if self.test_command is not None:
            given["test_command"] = tuple(self.test_command)
        return ProjectChange(**given)


def read_project(body: Any) -> Project:
    """The project in a body. Raises InvalidFields."""
    return read_body(ProjectIn, body).project()


def read_project_change(body: Any) -> ProjectChange:
    """What a body changes of a project. Raises InvalidFields."""
    change = read_body(ProjectPatch, body).change()
    if not change.given():
        raise InvalidFields([Fault("", "the body has to name a field that is to change")])
    return change
