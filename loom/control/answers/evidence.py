"""Attempts, and what they show for themselves."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, Path
from loom.domain.evidence import FailureClass, StepKind


class CommitOut(Answer):
    """A commit that an attempt pushed."""

    sha: str
    branch: str


class FailedTestOut(Answer):
    """A test that failed."""

    name: str
    message: str


class TestsOut(Answer):
    """What a test tool reported."""

    __test__ = False  # not a test of pytest's

    format: str
    total: Count
    passed: Count
    failed: Count
    skipped: Count
    failures: list[FailedTestOut]


class FindingOut(Answer):
    """What a linter found."""

    tool: str
    file: str
    line: Count
    rule: str
    message: str


class ArtifactOut(Answer):
    """A kept file."""

    name: str
    sha256: str
    size: Count
    media_type: str


class StepOut(Answer):
    """One step of a recipe as it ran."""

    name: str
    kind: StepKind
    argv: list[str]
    exit_code: int | None
    duration_s: float
    advisory: bool
    tests: TestsOut | None
    findings: list[FindingOut]
    output_tail: str
    log: ArtifactOut | None


class AttemptOut(Answer):
    """One try at a bead, from its claim to its end."""

    bead_id: str
    epoch: Count
    agent_id: str
    outcome: str
    claimed_at: Moment
    lease_until: Moment
    finished_at: Moment | None
    failure_class: FailureClass | None
    reason: str
    steps: list[StepOut]
    commits: list[CommitOut]
    output: str
    artifacts: list[ArtifactOut]
    notes: str


class AttemptsOut(Answer):
    """Every try at a bead, oldest first."""

    attempts: list[AttemptOut]


class ContentLink(Answer):
    """Where an artifact's content is."""

    content: Path


class KeptOut(Answer):
    """An artifact, and the attempt that left it."""

    name: str
    bead_id: str
    attempt: Count
    size: Count
    sha256: str
    media_type: str
    links: ContentLink


class ArtifactsOut(Answer):
    """What attempts left."""

    artifacts: list[KeptOut]
