"""A recipe: the steps by which a bead is worked on and proven, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loom.domain.evidence import StepKind

STEPS = (
    StepKind.PREPARE,
    StepKind.WORK,
    StepKind.BUILD,
    StepKind.LINT,
    StepKind.TEST,
    StepKind.COMMIT,
    StepKind.PUSH,
)
"""In the order in which they run; a bead may name some of them."""


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """A command of a recipe.

    kind: prepare, build, lint or test. name: unique within the recipe. why: in words, what made it
    part of it. advisory: its failing does not fail the bead. timeout_s, soft_timeout_s: seconds;
    None: as the project says. output: the format of what it writes to stdout, empty for none that
    is known. reports: paths of report files below the checkout's root, with wildcards.
    environment: what it gets besides what every command gets.
    """

    kind: StepKind
    name: str
    argv: tuple[str, ...]
    why: str = ""
    advisory: bool = False
    timeout_s: float | None = None
    soft_timeout_s: float | None = None
    output: str = ""
    reports: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is run, in this order, around the work itself.

    source: bead, .loom.toml, project or detected. kinds: which kinds of steps this bead asks for,
    the work, the commit and the push among them. artifacts: paths of files to keep, with wildcards.
    """

    steps: tuple[RecipeStep, ...]
    source: str
    kinds: frozenset[StepKind] = frozenset(STEPS)
    artifacts: tuple[str, ...] = ()
