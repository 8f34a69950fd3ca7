"""What a way to work has to be, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from loom.domain.bead import Bead
from loom.domain.evidence import FailureClass, Step, StepKind, SubBead
from loom.domain.project import Project


class WorkFailed(Exception):
    """The work came to an end that is no success; the attempt ends with this reason."""

    def __init__(self, failure_class: FailureClass, reason: str) -> None:
        super().__init__(reason)
        self.failure_class, self.reason = failure_class, reason


class Bench(Protocol):
    """Where a bead is worked on: its checkout, and all that may be done to it.

    Whatever runs a command runs it in the sandbox, under the bead's lease and limits, and leaves
    evidence. Each call raises WorkFailed where the attempt cannot go on.
    """

    bead: Bead
    project: Project
    checkout: Path
    """The working tree, with nothing staged that could be trusted: what it holds at the end is what
    is committed."""
    exchange: Path
    """A folder that commands see at the same path, outside of the checkout: files for them, and
    from them."""

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
        """Run a command at the root of the checkout; it fails the attempt unless advisory."""
        ...

    def run_recipe(self, kind: StepKind) -> Sequence[Step]:
        """Run the recipe's steps of this kind now; they run once more when the work is done."""
        ...

    def apply_patch(self, patch: bytes) -> Step:
        """Apply a unified diff to the checkout."""
        ...

    def path(self, name: str) -> Path:
        """The file of this name in the checkout; raises Invalid for one that leads out of it."""
        ...

    def describe_commit(self, message: str) -> None:
        """What the commit says instead of the bead's title and description."""
        ...

    def note(self, text: str) -> None:
        """Say something that a person should read beside the result."""
        ...

    def file_bead(self, bead: SubBead) -> None:
        """Ask for a bead to be filed in the same project, once this one's result counts."""
        ...


class Way(Protocol):
    """A way to work. It is made anew for each attempt, without arguments."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid saying what in the bead's context or in its project cannot be worked from;
        nothing was touched then."""
        ...

    def work(self, bench: Bench) -> None:
        """Do the work; what the checkout holds afterwards is proven and committed."""
        ...
