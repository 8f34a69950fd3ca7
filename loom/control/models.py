"""What a request may say: strict types, every bound, and no field that nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from loom.control.problem import Fault, InvalidFields
from loom.domain.actions import MAX_WORK_BYTES, Actions
from loom.domain.bead import MAX_BATCH, MAX_BLOCKERS, Amendment, NewBead
from loom.domain.document import message_of
from loom.domain.gitnames import branch_fault, repository_fault
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.priority import MAX_PRIORITY, check_not_before
from loom.domain.project import (
    DEFAULT_QUEUE_WINDOW,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WEIGHT,
    MAX_ATTEMPTS,
    MAX_IN_PROGRESS,
    MAX_TIMEOUT_S,
    MAX_WEIGHT,
    Project,
    ProjectChange,
    ProjectState,
)
from loom.domain.recipe import STEPS
from loom.domain.reconciliation import MAX_GRACE_S
from loom.domain.rulebook import RulesIn
from loom.domain.rules import Rules
from loom.errors import Invalid

MAX_TITLE = 200
MAX_DESCRIPTION = 20_000
MAX_WORDS = 256
MAX_WORD = 8_192
MAX_QUEUE_WINDOW = 10_000
MAX_PAGE = 500
MAX_DEAD_LETTER_PAGE = 100
MAX_CURSOR = 500


def _rule(fault: Callable[[str], str]) -> AfterValidator:
    def check(value: str) -> str:
        if wrong := fault(value):
            raise PydanticCustomError("rule", "{wrong}", {"wrong": wrong})
        return value

    return AfterValidator(check)


def _by(check: Callable[[str], str]) -> AfterValidator:
    def fault(value: str) -> str:
        try:
            check(value)
        except Invalid as error:
            return error.detail
        return ""

    return _rule(fault)


def _single_line(text: str) -> str:
    if not text.strip():
        return "has to say something"
    return _one_line(text)


def _one_line(text: str) -> str:
    if any(category(char) in {"Cc", "Zl", "Zp"} for char in text):
        return "has to be one line without control characters"
    return ""


def _patch_size(text: str) -> str:
    size = len(text.encode())
    return f"is {size} bytes; the limit is {MAX_WORK_BYTES}" if size > MAX_WORK_BYTES else ""


def _step(name: str) -> str:
    return "" if name in {*STEPS, "verify"} else f"is one of {', '.join(STEPS)}, verify"


Word = Annotated[str, StringConstraints(max_length=MAX_WORD)]


def _program(words: list[str]) -> list[str]:
    if not words[0].strip():
        raise PydanticCustomError("rule", "has to begin with the name of a program")
    return words


Argv = Annotated[list[Word], Field(min_length=1, max_length=MAX_WORDS), AfterValidator(_program)]
Timeout = Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)]
SoftTimeout = Annotated[int, Field(ge=0, le=MAX_TIMEOUT_S)]


def _project_state(text: str) -> str:
    known = [state.value for state in ProjectState]
    return "" if text in known else f"is one of {', '.join(known)}"


def _moment_fault(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return "needs its offset from UTC, as in 2026-05-01T09:00:00Z"
        check_not_before(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return "is a moment in RFC 3339, as 2026-05-01T09:00:00Z"
    except Invalid as error:
        return error.detail
    return ""


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _each_once(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        raise PydanticCustomError("rule", "names a bead twice")
    return ids


Priority = Annotated[int, Field(ge=0, le=MAX_PRIORITY)]
Window = Annotated[int, Field(ge=1, le=MAX_QUEUE_WINDOW)]
Weight = Annotated[int, Field(ge=1, le=MAX_WEIGHT)]
Cap = Annotated[int, Field(ge=0, le=MAX_IN_PROGRESS)]
Attempts = Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)]
BeadId = Annotated[str, _by(check_bead_id)]
BeadIds = Annotated[list[BeadId], Field(max_length=MAX_BLOCKERS), AfterValidator(_each_once)]
Moment = Annotated[str, StringConstraints(max_length=40), _rule(_moment_fault)]

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class ProjectIn(BaseModel):
    """A project as a request makes it."""

    model_config = _STRICT

    id: Annotated[str, _by(check_project_id)]
    repository: Annotated[str, _rule(repository_fault)]
    name: Annotated[str, StringConstraints(max_length=MAX_TITLE), _rule(_one_line)] = ""
    default_branch: Annotated[str, _rule(branch_fault)] = "main"
    test_command: Argv | None = None
    timeout_s: Timeout = DEFAULT_TIMEOUT_S
    soft_timeout_s: SoftTimeout = 0
    queue_window: Window = DEFAULT_QUEUE_WINDOW
    state: Annotated[str, _rule(_project_state)] = ProjectState.ACTIVE
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
    """What a request changes of a project."""

    model_config = _STRICT

    state: Annotated[str, _rule(_project_state)] | None = None
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
        state = {"state": ProjectState(self.state)} if self.state else {}
        return ProjectChange(**given | state)


class ContextIn(BaseModel):
    """What the agent works from: the keys that Loom knows are typed, all others travel as is."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    way: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] = ""
    steps: Annotated[list[Annotated[str, _rule(_step)]], Field(min_length=1, max_length=16)] = []
    patch: Annotated[str, _rule(_patch_size)] = ""
    actions: Actions = []
    test_command: Argv = Field(default_factory=list)
    timeout_s: Timeout = DEFAULT_TIMEOUT_S
    soft_timeout_s: Timeout | None = None


class BeadIn(BaseModel):
    """A bead as a request files it."""

    model_config = _STRICT

    title: Annotated[str, StringConstraints(max_length=MAX_TITLE), _rule(_single_line)]
    id: BeadId | None = None
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)] = ""
    context: ContextIn = ContextIn()
    priority: Priority = 2
    not_before: Moment | None = None
    blocked_by: BeadIds = Field(default_factory=list)
    parent: BeadId | None = None
    max_attempts: Attempts = 0

    def bead(self) -> NewBead:
        """The domain's value, its context as it came."""
        return NewBead(
            title=self.title,
            id=self.id or "",
            description=self.description,
            context=self.context.model_dump(exclude_unset=True),
            priority=self.priority,
            not_before=_moment(self.not_before),
            blocked_by=tuple(self.blocked_by),
            parent=self.parent or "",
            max_attempts=self.max_attempts,
        )


class BeadPatch(BaseModel):
    """What a request changes of what a bead waits for; null takes away. version: of the bead."""

    model_config = _STRICT

    version: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    priority: Priority | None = None
    not_before: Moment | None = None
    blocked_by: BeadIds | None = None
    parent: BeadId | None = None
    max_attempts: Attempts | None = None

    def amendment(self) -> Amendment:
        """The domain's value."""
        given = self.model_fields_set
        return Amendment(
            priority=self.priority,
            max_attempts=self.max_attempts,
            blocked_by=None if "blocked_by" not in given else tuple(self.blocked_by or ()),
            parent=None if "parent" not in given else self.parent or "",
            not_before=_moment(self.not_before),
            due_now="not_before" in given and self.not_before is None,
        )


class Paging(BaseModel):
    """The query of a list; text is read as a number where one is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR, pattern=r"^[!-~]*$")] = ""


class BeadQuery(Paging):
    """The query of a list of beads. state: may stand several times, for any of them."""

    project: Annotated[str, _by(check_project_id)] | None = None
    state: list[State] = Field(default_factory=list, max_length=len(State))
    resolution: Resolution | None = None


class DeadLetterQuery(Paging):
    """The query of a list of dead letters, which are large."""

    limit: Annotated[int, Field(ge=1, le=MAX_DEAD_LETTER_PAGE)] = 50
    project: Annotated[str, _by(check_project_id)] | None = None


class ReconcileIn(BaseModel):
    """Whether to mend, and how long a dispatched bead may wait before its message is missed."""

    model_config = _STRICT

    repair: bool = False
    grace_s: Annotated[float, Field(ge=0, le=MAX_GRACE_S)] | None = None


M = TypeVar("M", bound=BaseModel)

_BEADS = TypeAdapter(Annotated[list[BeadIn], Field(min_length=1, max_length=MAX_BATCH)])


def read_project(body: Any) -> Project:
    """The project in a body. Raises InvalidFields."""
    return _validated(ProjectIn, body).project()


def read_beads(body: Any) -> tuple[NewBead, ...]:
    """The beads in a body: one object, or a list of them. Raises InvalidFields."""
    if not isinstance(body, list):
        return (_validated(BeadIn, body).bead(),)
    try:
        return tuple(bead.bead() for bead in _BEADS.validate_python(body))
    except ValidationError as error:
        raise InvalidFields(_faults(error)) from error


def read_reconcile(body: Any) -> ReconcileIn:
    """What a request to compare ledger and broker says. Raises InvalidFields."""
    return _validated(ReconcileIn, body)


def read_project_change(body: Any) -> ProjectChange:
    """What a body changes of a project. Raises InvalidFields."""
    change = _validated(ProjectPatch, body).change()
    if not change.given():
        raise InvalidFields([Fault("", "the body has to name a field that is to change")])
    return change


def read_amendment(body: Any) -> tuple[Amendment, int]:
    """What a body changes of a bead, and the version it is meant for. Raises InvalidFields."""
    patch = _validated(BeadPatch, body)
    if not patch.model_fields_set - {"version"}:
        raise InvalidFields([Fault("", "the body has to name a field that is to change")])
    return patch.amendment(), patch.version or 0


def read_body(kind: type[M], body: Any) -> M:
    """The object in a body. Raises InvalidFields."""
    return _validated(kind, body)


def read_query(kind: type[M], query: Mapping[str, list[str]]) -> M:
    """The parameters of a URL. Raises InvalidFields."""
    several = {name for name, field in kind.model_fields.items() if field.annotation == list[State]}
    faults = [
        Fault(name, "stands more than once")
        for name, values in query.items()
        if len(values) > 1 and name not in several
    ]
    if faults:
        raise InvalidFields(faults)
    return _validated(kind, {k: list(v) if k in several else v[0] for k, v in query.items()})


def _validated(kind: type[M], value: Any) -> M:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InvalidFields(_faults(error)) from error


def _faults(error: ValidationError) -> list[Fault]:
    return [_fault(each) for each in error.errors(include_url=False)[:20]]


def _fault(error: ErrorDetails) -> Fault:
    message = {
        "extra_forbidden": "nobody knows this field",
        "missing": "is needed",
        "model_type": "has to be an object",
        "model_attributes_type": "has to be an object",
    }.get(error["type"], error["msg"])
    if error["loc"] and error["loc"][0] == "rules":
        message = message_of(error, RulesIn, error["loc"][1:])
    return Fault(".".join(str(part)[:80] for part in error["loc"]), message)
