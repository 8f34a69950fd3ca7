"""A bench over a folder: really runs commands and git, in no sandbox and under no lease.

For tests of ways to work, Loom's own and those of other packages.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loom.domain.bead import Attempt, Bead
from loom.domain.evidence import FailureClass, Step, StepKind, SubBead
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.rules import Rules
from workers.ways.files import Files
from workers.ways.way import WorkFailed

TIMEOUT_S = 60.0
_GIT = (
    "git", "-c", "user.name=Test", "-c", "user.email=test@loom.invalid", "-c", "core.hooksPath=",
    "-c", "maintenance.auto=false",
)  # fmt: skip


@dataclass
class FolderBench:
    """A bead's bench in a folder. recipe: the commands of each kind that run_recipe runs.

    proven: the kinds that would run by themselves when the work is done. steps, notes, sub_beads,
    commit_message: what came of the work.
    """

    folder: Path
    bead: Bead
    project: Project
    recipe: Mapping[StepKind, Sequence[Sequence[str]]] = field(default_factory=dict)
    proven: frozenset[StepKind] = frozenset({StepKind.BUILD, StepKind.LINT, StepKind.TEST})
    attempt: int = 1
    previous: Attempt | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sub_beads: list[SubBead] = field(default_factory=list)
    commit_message: str | None = None

    def __post_init__(self) -> None:
        self.checkout, self.exchange = self.folder / "checkout", self.folder / "exchange"
        self.files = Files(self.checkout)

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
        """Run a command at the root of the checkout; it raises WorkFailed unless advisory."""
        started, limit_s = time.monotonic(), timeout_s or TIMEOUT_S
        exit_code: int | None
        try:
            ended = subprocess.run(
                list(argv),
                cwd=self.checkout,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **(environment or {})},
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
            exit_code, output = ended.returncode, ended.stdout
        except subprocess.TimeoutExpired as error:
            exit_code, output = None, error.output or b""
        except (OSError, ValueError) as error:
            exit_code, output = 127, f"cannot run {argv[0]!r}: {error}".encode()
        duration_s, words = time.monotonic() - started, output.decode(errors="replace")
        step = self._kept(
            Step(name, tuple(argv), exit_code, duration_s, words, kind=kind, advisory=advisory)
        )
        if not (step.passed or advisory):
            self._fail(step, limit_s)
        return step

    def run_recipe(self, kind: StepKind) -> Sequence[Step]:
        """Run the commands of this kind now."""
        return [
            self.run(f"{kind}-{number}", argv, kind=kind)
            for number, argv in enumerate(self.recipe.get(kind, ()), 1)
        ]

    def proves(self, kind: StepKind) -> bool:
        """Whether commands of this kind would run by themselves when the work is done."""
        return kind in self.proven and bool(self.recipe.get(kind))

    def apply_patch(self, patch: bytes, name: str = "patch") -> Step:
        """Apply a unified diff to the checkout."""
        argv = ("git", "apply", "--whitespace=nowarn", "-")
        step = self.run(name, argv, stdin=patch, advisory=True)
        if not step.passed:
            words = f"the patch does not apply: {step.output_tail.strip()}"
            raise WorkFailed(FailureClass.WORK, words, step)
        return step

    def record(self, name: str, words: str) -> Step:
        """Leave evidence of something that was done without a command."""
        return self._kept(Step(name, (), 0, 0.0, words, kind=StepKind.WORK))

    def changed(self) -> Sequence[str]:
        """Paths in which the checkout differs from its commit."""
        status = self.git("status", "--porcelain", "--untracked-files=all", "-z", "--no-renames")
        return [entry[3:] for entry in status.split("\0") if entry]

    def describe_commit(self, message: str) -> None:
        """Keep what the commit would say."""
        self.commit_message = message

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)

    def file_bead(self, bead: SubBead) -> None:
        """Keep a bead that would be filed."""
        self.sub_beads.append(bead)

    def git(self, *arguments: str) -> str:
        """What git says in the checkout."""
        return subprocess.run(
            [*_GIT, *arguments],
            cwd=self.checkout,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def _kept(self, step: Step) -> Step:
        self.steps.append(step)
        return step

    @staticmethod
    def _fail(step: Step, limit_s: float) -> None:
        if step.exit_code is None:
            words = f"step {step.name} did not end in {limit_s:g} s"
            raise WorkFailed(FailureClass.TIMEOUT, words, step)
        end = step.output_tail.strip()[-1500:] or "it said nothing"
        words = f"step {step.name} ended with exit code {step.exit_code}: {end}"
        raise WorkFailed(FailureClass.WORK, words, step)


def bench(
    folder: Path,
    context: Mapping[str, Any],
    *,
    files: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    **options: Any,
) -> FolderBench:
    """A bench with a fresh repository of these files. options: further fields of FolderBench."""
    now = datetime.now(UTC)
    made = Bead(
        id="bd-1", project_id="demo", title="Mend the sum", state=State.IN_PROGRESS, epoch=1,
        version=2, correlation_id="corr-1", created_at=now, updated_at=now, context=context,
        description="It is off by one.",
    )  # fmt: skip
    project = Project("demo", str(folder / "origin.git"), rules=Rules(command=tuple(command)))
    ready = FolderBench(folder, made, project, **options)
    for place in (ready.checkout, ready.exchange):
        place.mkdir(parents=True)
    ready.git("init", "--quiet", "--initial-branch=main", "--template=")
    for name, content in (files or {"README": "A project.\n"}).items():
        ready.files.write(name, content.encode())
    ready.git("add", "--all")
    ready.git("commit", "--quiet", "--message=Begin")
    return ready
