"""What an attempt shows for itself, and whether that proves success."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FailureClass(StrEnum):
    """Why an attempt failed, which decides whether another is made."""

    WORK = "work"
    """The bead's own work is at fault: its patch does not apply, its tests fail."""
    INFRA = "infra"
    """The surroundings are at fault: no clone, no disk, an agent lost."""
    TIMEOUT = "timeout"
    """A command ran into its time limit."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe as it ran.

    argv: what was run; empty for a step that ran no command. exit_code: None when it did not end
    by itself. duration_s: wall-clock seconds. output_tail: the end of stdout and stderr together.
    """

    name: str
    argv: tuple[str, ...]
    exit_code: int | None
    duration_s: float
    output_tail: str = ""

    @property
    def passed(self) -> bool:
        """The step ended by itself, with exit code 0."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that an attempt pushed: its object id, and the branch it is the tip of."""

    sha: str
    branch: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. failure_class and reason are set when it did not succeed."""

    succeeded: bool
    steps: tuple[Step, ...] = ()
    commits: tuple[Commit, ...] = ()
    output: str = ""
    failure_class: FailureClass | None = None
    reason: str = ""
    artifacts: tuple[str, ...] = field(default=())


def unproven(outcome: Outcome) -> str:
    """Why the outcome does not prove success, in words; empty when it does.

    Proof is a 'test' step, every step's exit code 0, and the commit it pushed, if it says it
    committed.
    """
    if not outcome.steps:
        return "no step left evidence"
    for step in outcome.steps:
        if not step.passed:
            return f"step {step.name} ended with exit code {step.exit_code}"
    names = {step.name for step in outcome.steps}
    if "test" not in names:
        return "no test step ran"
    if ("commit" in names or "push" in names) and not outcome.commits:
        return "it committed, but names no commit"
    return ""
