"""A recipe as a person writes it, `.loom.toml` or a project's rules.recipe, read or refused.

The schema is told in docs/recipes.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from loom.domain import document
from loom.domain.document import Argv, Document, Text, fault
from loom.domain.evidence import StepKind
from loom.domain.recipe import EXCHANGE, OUTPUTS, RecipeStep
from loom.domain.rules import MAX_COMMAND_S
from loom.errors import Invalid

FILE = ".loom.toml"
VERSION = 1
MAX_BYTES = 64 * 1024
MAX_STEPS = 50
MAX_GLOBS = 100
MAX_GLOB = 500
MAX_VARIABLES = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OWN_NAMES = frozenset({"checkout", "work", "patch", "commit", "push"})

Kind = Literal["prepare", "build", "lint", "test"]
Seconds = Annotated[float, Field(gt=0, le=MAX_COMMAND_S, allow_inf_nan=False)]


def _step_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise fault("has to be 1 to 64 letters, digits, '.', '_' and '-'")
    if name in _OWN_NAMES:
        raise fault(f"{name} is a step of Loom's own")
    return name


def _glob(text: str) -> str:
    """A path below the checkout's root or the exchange folder, with wildcards."""
    below = text.removeprefix(f"${EXCHANGE}/").removeprefix(f"${{{EXCHANGE}}}/")
    if not below.strip() or below.startswith(("/", "~")) or "\\" in below:
        raise fault(f"has to be a path below the checkout's root, or below ${EXCHANGE}/")
    if ".." in PurePosixPath(below).parts or ".git" in PurePosixPath(below).parts:
        raise fault("has to stay below the checkout's root, and out of .git")
    return text


def _environment(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if not _VARIABLE.fullmatch(name):
            raise fault(f"{name[:40]!r} is no name of a variable")
        if name.startswith("LOOM_"):
            raise fault(f"{name[:40]} is Loom's own variable")
    return values


def _output(name: str) -> str:
    if name not in OUTPUTS:
        raise fault(f"has to be one of {', '.join(OUTPUTS)}")
    return name


Glob = Annotated[Text, StringConstraints(max_length=MAX_GLOB), AfterValidator(_glob)]
Globs = Annotated[list[Glob], Field(max_length=MAX_GLOBS)]
Environment = Annotated[
    dict[str, Text], Field(max_length=MAX_VARIABLES), AfterValidator(_environment)
]


class StepIn(Document):
    """A step as a person writes it."""

    kind: Kind
    run: Argv
    name: Annotated[Text, AfterValidator(_step_name)] = ""
    why: Annotated[Text, StringConstraints(max_length=MAX_GLOB)] = ""
    advisory: bool = False
    timeout_s: Seconds | None = None
    soft_timeout_s: Seconds | None = None
    output: Annotated[str, AfterValidator(_output)] = ""
    reports: Globs = Field(default_factory=list)
    environment: Environment = Field(default_factory=dict)


class RecipeIn(Document):
    """A recipe as a person writes it."""

    version: Literal[1] = 1
    step: Annotated[list[StepIn], Field(max_length=MAX_STEPS)] = Field(default_factory=list)
    detect: list[Kind] = Field(default_factory=list)
    artifacts: Globs = Field(default_factory=list)
    environment: Environment = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written. detect: the kinds whose steps are to be found in the repository."""

    steps: tuple[RecipeStep, ...] = ()
    detect: frozenset[StepKind] = frozenset()
    artifacts: tuple[str, ...] = ()


def parse(value: Any, where: str = FILE) -> Written:
    """The recipe in a mapping; raises Invalid naming what in it is wrong. where: its name."""
    read = document.read(RecipeIn, value, where)
    start = f"{where}: " if where else ""
    steps: list[RecipeStep] = []
    names = {step.name for step in read.step if step.name}
    for number, step in enumerate(read.step, 1):
        place = f"{start}step {number}"
        if step.name in {made.name for made in steps}:
            raise Invalid(f"{place}.name: {step.name} is the name of an earlier step")
        if step.name in set(StepKind) - {step.kind}:
            raise Invalid(f"{place}.name: {step.name} is another kind than {step.kind}")
        if step.soft_timeout_s and step.timeout_s and step.soft_timeout_s >= step.timeout_s:
            raise Invalid(
                f"{place}.soft_timeout_s is {step.soft_timeout_s:g}: it has to be below the "
                f"{step.timeout_s:g} s after which the command is killed"
            )
        name = step.name or _free(step.kind, names)
        names.add(name)
        steps.append(_step(step, name, where, read.environment))
    detect = frozenset(map(StepKind, read.detect))
    for made in steps:
        if made.kind in detect:
            raise Invalid(
                f"{start}detect names {made.kind}, and the step {made.name} is of that kind: "
                "leave one of them out"
            )
    return Written(tuple(steps), detect, tuple(read.artifacts))


def parse_toml(text: str, where: str = FILE) -> Written:
    """The recipe in a text; raises Invalid naming what in it is wrong."""
    return parse(mapping(text, where), where)


def mapping(text: str, where: str = FILE) -> dict[str, Any]:
    """What a text of TOML says, whether or not it is a recipe; raises Invalid."""
    if len(text.encode()) > MAX_BYTES:
        raise Invalid(f"{where} has over {MAX_BYTES} bytes, which is the limit")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is no TOML: {str(error)[:200]}") from error


def _free(kind: str, names: set[str]) -> str:
    """The kind as a name, numbered where it is taken."""
    numbered = (kind if number == 1 else f"{kind}-{number}" for number in range(1, MAX_STEPS + 2))
    return next(name for name in numbered if name not in names)


def _step(step: StepIn, name: str, where: str, environment: Mapping[str, str]) -> RecipeStep:
    return RecipeStep(
        kind=StepKind(step.kind),
        name=name,
        argv=tuple(step.run),
        why=step.why or f"{where or 'the recipe'} names it",
        advisory=step.advisory,
        timeout_s=step.timeout_s,
        soft_timeout_s=step.soft_timeout_s,
        output=step.output,
        reports=tuple(step.reports),
        environment=dict(environment) | step.environment,
    )
