"""What a way to work has to be, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from loom.domain.bead import Attempt, Bead
from loom.domain.evidence import FailureClass, Step, StepKind, SubBead
from loom.domain.project import Project
from workers.ways.files import Files


class WorkFailed(Exception):
    """The work came to an end that is no success; the attempt ends with this reason.

    step: the one that failed it, if a command did.
    """

    def __init__(self, failure_class: FailureClass, reason: str, step: Step | None = None) -> None:
        super().__init__(reason)
        self.failure_class, self.reason, self.step = failure_class, reason, step


class Bench(Protocol):
    """Where a bead is worked on: its checkout, and all that may be done to it.

    Whatever runs a command runs it in the sandbox, under the bead's lease and limits, and leaves
    evidence. Each call raises WorkFailed where the attempt cannot go on.
    """

    bead: Bead
    project: Project
    attempt: int
    """1 for the first."""
    previous: Attempt | None
    """The attempt before this one, as far as the agent was told of it."""
    checkout: Path
    """The working tree, with nothing staged that could be trusted: what it holds at the end is what
    is committed."""
    exchange: Path
    """A folder that commands see at the same path, outside of the checkout: files for them, and
    from them. Earlier commands of the attempt may have left anything in it."""
    files: Files
    """The files of the checkout, by paths that lead nowhere else."""
    credentials: Mapping[str, str]
    """What the agent's operator gives to the project's own command as its environment, and to no
    other command."""

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        kind: StepKind = StepKind.WORK,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        advisory: bool = False,
    ) -> Step:
        """Run a command at the root of the checkout; it fails the attempt unless advisory.

        environment: besides what every command gets. timeout_s: instead of the bead's or project's.
        A command that fails the attempt raises WorkFailed with its step.
        """
        ...

    def run_recipe(self, kind: StepKind) -> Sequence[Step]:
        """Run the recipe's steps of this kind now; empty if it has none.

        Those that prove the bead run once more when the work is done.
        """
        ...

    def proves(self, kind: StepKind) -> bool:
        """Whether steps of this kind run by themselves when the work is done."""
        ...

    def apply_patch(self, patch: bytes, name: str = "patch") -> Step:
        """Apply a unified diff to the checkout as it is by now, as the step of this name."""
        ...

    def record(self, name: str, words: str) -> Step:
        """Leave evidence of something that was done without a command."""
        ...

    def changed(self) -> Sequence[str]:
        """Paths in which the checkout differs from what it began with, as far as a commit would."""
        ...

    def describe_commit(self, message: str) -> None:
        """What the commit says instead of the bead's title and description."""
        ...

    def note(self, text: str) -> None:
        """Say something that a person should read beside the result; it may end in a failure."""
        ...

    def file_bead(self, bead: SubBead) -> None:
        """Ask for a bead to be filed in the same project, once this one's result counts."""
        ...


class Way(Protocol):
    """A way to work. It is made anew for each attempt, without arguments.

    It runs in the agent's own process, with the agent's rights: whatever it has from the bead, the
    repository or a command is not to be trusted, and commands run by Bench.run alone.
    """

    commits: bool = True
    """Whether what the checkout holds afterwards is committed, if it changed and the bead's steps
    do not leave that out."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid saying what in the bead's context or in its project cannot be worked from;
        nothing was touched then."""
        ...

    def work(self, bench: Bench) -> None:
        """Do the work; what the checkout holds afterwards is proven and committed."""
        ...
