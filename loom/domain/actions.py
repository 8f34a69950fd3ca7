"""The actions of a bead that is worked on by `actions`: a typed list, all of it checked at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from loom.domain.evidence import SubBead
from loom.domain.priority import MAX_PRIORITY
from loom.domain.project import MAX_TIMEOUT_S
from loom.errors import Invalid

MAX_ACTIONS = 100
MAX_WORK_BYTES = 200 * 1024
"""What a bead may bring along to be written: its patch, or all contents and patches of its actions.
Its task message has to hold it."""
MAX_PATH_BYTES, MAX_NAME_BYTES = 1_024, 255
MAX_TEXT = 16 * 1024
MAX_TITLE, MAX_DESCRIPTION = 200, 20_000
MAX_WORDS, MAX_WORD = 256, 8_192
MAX_DEPTH, MAX_CONTEXT_BYTES = 28, MAX_WORK_BYTES + 64 * 1024
"""Of the context of a bead that another one files."""
T = TypeVar("T")
_GIT = frozenset({".git", "git~1"})
"""What git keeps its own things in, also by the short name that some file systems give it."""
_ENDING = frozenset({"git_commit", "git_push"})
_AFTER_THE_END = frozenset({"git_push", "note", "file_bead"})


def _wrong(words: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{words}", {"words": words})


def check_path(name: str) -> str:
    """Return name if it can be a file's below a checkout; raise Invalid saying what is wrong."""
    parts = name.split("/")
    if not name or len(name.encode(errors="replace")) > MAX_PATH_BYTES:
        raise Invalid(f"a path has 1 to {MAX_PATH_BYTES} bytes")
    if any(category(char) in {"Cc", "Cs"} for char in name):
        raise Invalid(f"{name!r} holds a control character")
    if any(part in {"", ".", ".."} for part in parts):
        raise Invalid(
            f"{name!r} is not a path below the checkout's root: it has no '.' or '..' in it, and "
            "no '/' at its beginning or end"
        )
    if any(part.casefold() in _GIT for part in parts):
        raise Invalid(f"{name!r} belongs to git: no action writes there")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise Invalid(f"{name[:80]!r}…: a name in a path has up to {MAX_NAME_BYTES} bytes")
    return name


def _path(name: str) -> str:
    try:
        return check_path(name)
    except Invalid as error:
        raise _wrong(error.detail) from error


def _title(text: str) -> str:
    if not text.strip() or any(category(char) in {"Cc", "Zl", "Zp"} for char in text):
        raise _wrong("has to be one line that says something, without control characters")
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise _wrong("has to say something")
    return text


def _storable(value: T) -> T:
    """What a ledger keeps as JSON."""
    if any("\0" in text for text in _texts(value, MAX_DEPTH)):
        raise _wrong("holds NUL, which no text of a database does")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise _wrong(f"is no JSON: {error}") from error
    if size > MAX_CONTEXT_BYTES:
        raise _wrong(f"is {size} bytes; the limit is {MAX_CONTEXT_BYTES}")
    return value


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if not depth:
            raise _wrong(f"has more than {MAX_DEPTH} objects and lists within each other")
        for inner in value:
            yield from _texts(inner, depth - 1)
        if isinstance(value, dict):
            for inner in value.values():
                yield from _texts(inner, depth - 1)


def _program(words: list[str]) -> list[str]:
    if not words[0].strip() or any("\0" in word for word in words):
        raise _wrong("has to begin with the name of a program, and to hold no NUL")
    return words


FilePath = Annotated[str, AfterValidator(_path)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_said)]
Word = Annotated[str, StringConstraints(max_length=MAX_WORD)]
Argv = Annotated[list[Word], Field(min_length=1, max_length=MAX_WORDS), AfterValidator(_program)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class WriteFile(_Part):
    """Write a whole file; its folders are made. mode: as it was, or 644, unless it is given."""

    type: Literal["write_file"]
    path: FilePath
    content: str
    mode: Literal["644", "755"] | None = None


class DeleteFile(_Part):
    """Delete a file that is there, or a symbolic link."""

    type: Literal["delete_file"]
    path: FilePath


class MoveFile(_Part):
    """Move a file to a place where nothing is."""

    type: Literal["move_file"]
    path: FilePath
    to: FilePath


class ApplyPatch(_Part):
    """Apply a unified diff."""

    type: Literal["apply_patch"]
    patch: Annotated[str, AfterValidator(_said)]


class RunCommand(_Part):
    """Run a command at the root of the checkout. expect_exit: what it has to end with."""

    type: Literal["run_command"]
    argv: Argv
    timeout_s: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] | None = None
    advisory: bool = False
    expect_exit: Annotated[int, Field(ge=0, le=255)] = 0

    @model_validator(mode="after")
    def _one_of_them(self) -> RunCommand:
        if self.advisory and self.expect_exit:
            raise _wrong("an advisory command may end as it will: leave out expect_exit")
        return self


class RunTests(_Part):
    """Run the recipe's test steps."""

    type: Literal["run_tests"]


class RunLinter(_Part):
    """Run the recipe's lint steps."""

    type: Literal["run_linter"]


class Build(_Part):
    """Run the recipe's build steps."""

    type: Literal["build"]


class GitCommit(_Part):
    """Say what the commit says. message: the bead's title and description if empty."""

    type: Literal["git_commit"]
    message: Annotated[str, StringConstraints(max_length=MAX_TEXT)] = ""


class GitPush(_Part):
    """Say that the commit is to be pushed."""

    type: Literal["git_push"]


class Note(_Part):
    """Say something that a person should read beside the result."""

    type: Literal["note"]
    text: Text


class BeadAsked(_Part):
    """A bead that is to be filed in the same project, once this one's result counts."""

    title: Annotated[str, StringConstraints(max_length=MAX_TITLE), AfterValidator(_title)]
    description: Annotated[
        str, StringConstraints(max_length=MAX_DESCRIPTION), AfterValidator(_storable)
    ] = ""
    context: Annotated[Mapping[str, Any], AfterValidator(_storable)] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] = 2

    def sub_bead(self) -> SubBead:
        """The domain's value."""
        return SubBead(self.title, self.description, dict(self.context), self.priority)


class FileBead(BeadAsked):
    """File a bead in the same project, once this one's result counts."""

    type: Literal["file_bead"]


Action = (
    WriteFile | DeleteFile | MoveFile | ApplyPatch | RunCommand | RunTests | RunLinter | Build
    | GitCommit | GitPush | Note | FileBead
)  # fmt: skip
TYPES: tuple[str, ...] = tuple(kind.model_fields["type"].annotation.__args__[0]
                               for kind in Action.__args__)  # fmt: skip


def _in_order(actions: list[Action]) -> list[Action]:
    """A bead makes one commit, of all that it changed: so the words on it end the list."""
    if len(actions) > MAX_ACTIONS:
        raise _wrong(f"{len(actions)} actions; the limit is {MAX_ACTIONS}")
    ending = ""
    for index, action in enumerate(actions):
        if ending and action.type not in _AFTER_THE_END - {ending}:
            raise _wrong(
                f"{index} ({action.type}) comes after {ending}: a bead makes one commit, of all "
                "that its actions changed, so git_commit and git_push come once, at the end; only "
                "note and file_bead may follow"
            )
        if action.type in _ENDING:
            ending = action.type
    size = sum(len(_brought(action).encode()) for action in actions)
    if size > MAX_WORK_BYTES:
        raise _wrong(f"contents and patches are {size} bytes in all; the limit is {MAX_WORK_BYTES}")
    return actions


def _brought(action: Action) -> str:
    return (
        action.content if isinstance(action, WriteFile)
        else action.patch if isinstance(action, ApplyPatch)
        else ""
    )  # fmt: skip


Actions = Annotated[
    list[Annotated[Action, Field(discriminator="type")]],
    Field(min_length=1),
    AfterValidator(_in_order),
]
"""As the type of a field of a pydantic model."""

_ACTIONS: TypeAdapter[list[Action]] = TypeAdapter(Actions)


def read(value: object) -> tuple[Action, ...]:
    """The actions in a bead's context; raises Invalid with the places of the first faults."""
    try:
        return tuple(_ACTIONS.validate_python(value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Invalid("; ".join(told(each, "context.actions") for each in found[:5])) from error


def told(error: ErrorDetails, root: str) -> str:
    """A fault that pydantic found, with its place below root."""
    words = {
        "extra_forbidden": "nobody knows this field",
        "missing": "is needed",
        "union_tag_not_found": f"has no type, which is one of {', '.join(TYPES)}",
        "union_tag_invalid": f"its type is not one of {', '.join(TYPES)}",
        "model_attributes_type": "has to be an object",
        "model_type": "has to be an object",
    }
    place = ".".join((root, *(str(part)[:80] for part in error["loc"])))
    return f"{place}: {words.get(error['type'], error['msg'])}"
