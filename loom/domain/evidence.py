"""What an attempt shows for itself, and whether that proves success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_STEPS = 200
"""Of one attempt."""
MAX_FAILURES = 100
"""Tests that failed and are told of by name, of one step."""
MAX_FINDINGS = 200
"""Of one step."""
MAX_ARTIFACTS = 500
"""Of one attempt."""
MAX_SUB_BEADS = 50
"""That one attempt may ask for."""


class FailureClass(StrEnum):
    """Why an attempt failed, which decides whether another is made."""

    WORK = "work"
    """The bead's own work is at fault: its patch does not apply, its tests fail."""
    INFRA = "infra"
    """The surroundings are at fault: no clone, no disk, an agent lost."""
    TIMEOUT = "timeout"
    """A command ran into its time limit."""
    NO_TESTS = "no_tests"
    """Nothing failed, and nothing was proven: the test steps found no test."""


class StepKind(StrEnum):
    """What a step of an attempt is for, in the order in which they run."""

    CHECKOUT = "checkout"
    PREPARE = "prepare"
    WORK = "work"
    BUILD = "build"
    LINT = "lint"
    TEST = "test"
    COMMIT = "commit"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class TestFailure:
    """A test that failed: its name as its tool gives it, and the beginning of what it said."""

    __test__ = False  # not a test of pytest's

    name: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class TestReport:
    """What a test tool reported, counted in tests. format: where it was read from.

    failed: errors included. failures: some of the failed ones, at least one if there were any.
    """

    __test__ = False  # not a test of pytest's

    format: str
    total: int
    passed: int
    failed: int
    skipped: int
    failures: tuple[TestFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a linter found. file: below the checkout's root. line: from 1; 0: of the whole file."""

    tool: str
    file: str
    line: int
    rule: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A kept file. name: its path below the checkout's root, or of Loom's own making, as
    `log/test.txt`. sha256: its address in the store, in hex. size: bytes.
    """

    name: str
    sha256: str
    size: int
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe as it ran.

    argv: what was run; empty for a step that ran no command. exit_code: None when it did not end
    by itself. duration_s: wall-clock seconds. output_tail: the end of stdout and stderr together.
    kind: unless it is given, what the name says, else work. advisory: its failing does not fail the
    attempt. tests, findings: what its reports said, as far
    as there are any. log: the whole output, up to a limit, as an artifact.
    """

    name: str
    argv: tuple[str, ...]
    exit_code: int | None
    duration_s: float
    output_tail: str = ""
    kind: StepKind = None  # type: ignore[assignment]  # never None: see __post_init__
    advisory: bool = False
    tests: TestReport | None = None
    findings: tuple[Finding, ...] = ()
    log: Artifact | None = None

    def __post_init__(self) -> None:
        if self.kind is None:
            known = self.name in set(StepKind)
            object.__setattr__(self, "kind", StepKind(self.name) if known else StepKind.WORK)

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
class SubBead:
    """A bead that an attempt asks to be filed in its project, once its result counts."""

    title: str
    description: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. failure_class and reason are set when it did not succeed.

    planned: the names of the steps that its recipe had, each of which has to leave evidence.
    notes: what whoever worked wants a person to read. sub_beads: what it found to do besides.
    """

    succeeded: bool
    steps: tuple[Step, ...] = ()
    commits: tuple[Commit, ...] = ()
    output: str = ""
    failure_class: FailureClass | None = None
    reason: str = ""
    artifacts: tuple[Artifact, ...] = ()
    planned: tuple[str, ...] = ()
    notes: str = ""
    sub_beads: tuple[SubBead, ...] = ()


def unproven(outcome: Outcome, *, allow_no_tests: bool = False) -> str:
    """Why the outcome does not prove success, in words; empty when it does.

    Proof is evidence of every step that was planned, and of a test step where no plan is named;
    exit code 0 of every step that is not advisory; reports of tests without a failed one, and with
    at least one test unless the project allows none; and the commit it pushed, if it says it
    committed.
    """
    if not outcome.steps:
        return "no step left evidence"
    faults = [fault for step in outcome.steps if (fault := _failed(step))]
    names = {step.name for step in outcome.steps}
    kinds = {step.kind for step in outcome.steps}
    if missing := [name for name in outcome.planned if name not in names]:
        faults.append(f"planned, but without evidence: {', '.join(missing)}")
    if not outcome.planned and StepKind.TEST not in kinds:
        faults.append("no test step ran")
    if found_no_tests(outcome.steps) and not allow_no_tests:
        faults.append("the test steps found no test")
    if {StepKind.COMMIT, StepKind.PUSH} & kinds and not outcome.commits:
        faults.append("it committed, but names no commit")
    return faults[0] if faults else ""


def _failed(step: Step) -> str:
    if step.advisory:
        return ""
    if not step.passed:
        return f"step {step.name} ended with exit code {step.exit_code}"
    if step.tests is not None and step.tests.failed:
        return f"step {step.name} reports {step.tests.failed} failed tests"
    return ""


def found_no_tests(steps: Iterable[Step]) -> bool:
    """Whether test steps ran and all of them reported, and none reported a test."""
    reports = [step.tests for step in steps if step.kind is StepKind.TEST]
    return bool(reports) and all(report is not None and report.total == 0 for report in reports)
