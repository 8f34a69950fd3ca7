"""A recipe: the steps by which a bead is worked on and proven, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
COMMANDS = (StepKind.PREPARE, StepKind.BUILD, StepKind.LINT, StepKind.TEST)
"""The kinds whose steps are commands of a recipe."""
OUTPUTS = (
    "pytest", "unittest", "go", "cargo", "tap", "jest", "mocha",
    "ruff", "flake8", "mypy", "eslint", "golangci-lint", "clippy", "tsc",
)  # fmt: skip
"""The formats of a command's stdout that are read for tests and findings."""
EXCHANGE = "LOOM_EXCHANGE"
"""The variable with the folder outside of the checkout that commands may write to. A recipe writes
`$LOOM_EXCHANGE` in arguments, environment and reports, as no shell is there to put it in."""


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

    def at(self, exchange: str) -> RecipeStep:
        """The step as it runs, with the exchange folder put in wherever it is named."""

        def placed(text: str) -> str:
            return text.replace(f"${{{EXCHANGE}}}", exchange).replace(f"${EXCHANGE}", exchange)

        return replace(
            self,
            argv=tuple(map(placed, self.argv)),
            reports=tuple(map(placed, self.reports)),
            environment={name: placed(value) for name, value in self.environment.items()},
        )


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

    def of_kind(self, kind: StepKind) -> tuple[RecipeStep, ...]:
        """The steps of that kind, if the bead asks for them."""
        return tuple(s for s in self.steps if s.kind is kind and kind in self.kinds)
