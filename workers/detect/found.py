"""What detection stands on, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loom.domain.evidence import StepKind
from loom.domain.recipe import RecipeStep
from loom.domain.rules import Network
from workers.detect.tree import Tree


@dataclass(frozen=True, slots=True)
class Ground:
    """A checkout and what is around it.

    installed: whether a program is on the PATH of commands. network: when they may use the network.
    """

    tree: Tree
    installed: Callable[[str], bool]
    network: Network = Network.NEVER

    @property
    def prepares(self) -> bool:
        """Whether a prepare step may fetch what the others need."""
        return self.network is not Network.NEVER

    @property
    def online(self) -> bool:
        """Whether every step reaches the network."""
        return self.network is Network.ALWAYS


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was detected and is not run, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """Steps, and what was left out; in the order in which they were found."""

    steps: tuple[RecipeStep, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(self.steps + other.steps, self.left_out + other.left_out)

    def has(self, kind: StepKind) -> bool:
        """Whether there is a step of that kind."""
        return any(step.kind is kind for step in self.steps)


NOTHING = Found()
NO_NETWORK = "the project allows no network: rules.network = prepare lets it"


def step(kind: StepKind, name: str, why: str, *argv: str, **more: object) -> Found:
    """One step; what lints is advisory."""
    made = RecipeStep(
        kind, name, argv, why, advisory=kind is StepKind.LINT, **more  # type: ignore[arg-type]
    )  # fmt: skip
    return Found((made,))


def left_out(what: str, why: str) -> Found:
    """One thing that is not run."""
    return Found(left_out=(LeftOut(what, why),))


def lint(ground: Ground, program: str, name: str, why: str, *argv: str, **more: object) -> Found:
    """A lint step, left out where its program is not there."""
    if not ground.installed(program):
        return left_out(name, f"{why}, but {program} is not on the agent's PATH")
    return step(StepKind.LINT, name, why, *argv, **more)
