"""The result message: what an agent reports of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)

from loom.domain.evidence import (
    MAX_ARTIFACTS,
    MAX_FAILURES,
    MAX_FINDINGS,
    MAX_STEPS,
    MAX_SUB_BEADS,
    FailureClass,
    Outcome,
    StepKind,
)
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.priority import MAX_PRIORITY
from loom.errors import Invalid, UnreadableMessage
from loom.messaging.envelope import VERSION, Envelope, check_version, read_json, validate
from loom.messaging.evidence import (
    artifacts_from_json,
    artifacts_to_json,
    commits_from_json,
    commits_to_json,
    steps_from_json,
    steps_to_json,
    sub_beads_from_json,
    sub_beads_to_json,
)
from loom.messaging.topology import MAX_RESULT_BYTES, RESULTS, result_key

TYPES = ("task.completed", "task.failed", "task.progress")

MAX_EPOCH = 2**63 - 1
MAX_NAME = 1_024
MAX_COMMITS = 100


def _without_nul(text: str) -> str:
    """A command may write NUL, which no text of a database holds."""
    return text.replace("\0", "\ufffd")


def _name(text: str) -> str:
    if "\0" in text:
        raise ValueError("NUL is not a character of a name")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
"""What a person reads."""
Name = Annotated[str, AfterValidator(_name)]
"""What a program compares."""
Count = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class CommitPart(_Part):
    """A pushed commit."""

    sha: Name
    branch: Name


class ArtifactPart(_Part):
    """A kept file; size in bytes."""

    name: Name = Field(min_length=1, max_length=MAX_NAME)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, lt=2**63)
    media_type: Name = Field(max_length=MAX_NAME)


class FailurePart(_Part):
    """A test that failed."""

    name: Text
    message: Text = ""


class TestsPart(_Part):
    """What a test tool reported."""

    __test__ = False  # not a test of pytest's

    format: Name = Field(max_length=MAX_NAME)
    total: Count
    passed: Count
    failed: Count
    skipped: Count
    failures: list[FailurePart] = Field(default_factory=list, max_length=MAX_FAILURES)


class FindingPart(_Part):
    """What a linter found."""

    tool: Name = Field(max_length=MAX_NAME)
    file: Text
    line: int = Field(ge=0, lt=2**31)
    rule: Text
    message: Text = ""


class StepPart(_Part):
    """The evidence of one step; duration_s in seconds."""

    name: Name
    kind: str | None = None
    argv: list[Text]
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None
    duration_s: float = Field(ge=0, allow_inf_nan=False)
    advisory: bool = False
    tests: TestsPart | None = None
    findings: list[FindingPart] = Field(default_factory=list, max_length=MAX_FINDINGS)
    output_tail: Text = ""
    log: ArtifactPart | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in set(StepKind):
            raise ValueError("no step is of this kind")
        return kind


class SubBeadPart(_Part):
    """A bead that is to be filed; the ledger judges what it says."""

    title: Text
    description: Text = ""
    context: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=2, ge=0, le=MAX_PRIORITY)


class ResultPart(_Part):
    """What came of the work."""

    status: Name
    commits: list[CommitPart] = Field(default_factory=list, max_length=MAX_COMMITS)
    output: Text = ""
    artifacts: list[ArtifactPart] = Field(default_factory=list, max_length=MAX_ARTIFACTS)
    notes: Text = ""
    sub_beads: list[SubBeadPart] = Field(default_factory=list, max_length=MAX_SUB_BEADS)


class ResultMessage(_Part):
    """What an agent reports of an attempt, under the epoch of its claim."""

    type: Literal["task.completed", "task.failed", "task.progress"]
    message_id: Name = Field(min_length=1, max_length=128)
    project_id: str
    bead_id: str
    agent_id: Name
    epoch: int = Field(ge=1, le=MAX_EPOCH)
    result: ResultPart
    evidence: list[StepPart] = Field(default_factory=list, max_length=MAX_STEPS)
    planned: list[Name] = Field(default_factory=list, max_length=MAX_STEPS)
    failure_class: Literal["work", "infra", "timeout", "no_tests"] | None = None
    reason: Text = ""
    correlation_id: Name
    timestamp: AwareDatetime

    def outcome(self) -> Outcome:
        """The report as the domain's value."""
        return Outcome(
            succeeded=self.type == "task.completed",
            steps=steps_from_json(s.model_dump() for s in self.evidence),
            commits=commits_from_json(c.model_dump() for c in self.result.commits),
            output=self.result.output,
            failure_class=FailureClass(self.failure_class) if self.failure_class else None,
            reason=self.reason,
            artifacts=artifacts_from_json(a.model_dump() for a in self.result.artifacts),
            planned=tuple(self.planned),
            notes=self.result.notes,
            sub_beads=sub_beads_from_json(b.model_dump() for b in self.result.sub_beads),
        )


def report(
    outcome: Outcome,
    *,
    message_id: str,
    project_id: str,
    bead_id: str,
    agent_id: str,
    epoch: int,
    correlation_id: str,
    timestamp: datetime,
) -> ResultMessage:
    """The final report of an attempt."""
    return ResultMessage(
        type="task.completed" if outcome.succeeded else "task.failed",
        message_id=message_id,
        project_id=project_id,
        bead_id=bead_id,
        agent_id=agent_id,
        epoch=epoch,
        result=ResultPart(
            status="succeeded" if outcome.succeeded else "failed",
            commits=[CommitPart(**c) for c in commits_to_json(outcome.commits)],
            output=outcome.output,
            artifacts=[ArtifactPart(**a) for a in artifacts_to_json(outcome.artifacts)],
            notes=outcome.notes,
            sub_beads=[SubBeadPart(**b) for b in sub_beads_to_json(outcome.sub_beads)],
        ),
        evidence=[StepPart.model_validate(s) for s in steps_to_json(outcome.steps)],
        planned=list(outcome.planned),
        failure_class=outcome.failure_class.value if outcome.failure_class else None,
        reason=outcome.reason,
        correlation_id=correlation_id,
        timestamp=timestamp,
    )


def to_envelope(message: ResultMessage, traceparent: str = "") -> Envelope:
    """The message to publish."""
    headers: dict[str, Any] = {
        "version": VERSION,
        "message_id": message.message_id,
        # With the epoch, they name the attempt even where nobody can read the body.
        "id": message.bead_id,
        "epoch": message.epoch,
    }
    if traceparent:
        headers["traceparent"] = traceparent
    return Envelope(
        exchange=RESULTS,
        routing_key=result_key(message.project_id),
        body=message.model_dump_json().encode(),
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        headers=headers,
    )


def read(headers: Mapping[str, Any], body: bytes) -> ResultMessage:
    """The result in a received message; raises UnreadableMessage with `reason` in its data."""
    check_version(headers, "the result")
    payload = read_json(body, MAX_RESULT_BYTES, "a result message")
    kind = payload.get("type") if isinstance(payload, dict) else None
    if isinstance(kind, str) and kind not in TYPES:
        raise UnreadableMessage(f"no ingester knows the type {kind[:80]!r}", reason="unknown_type")
    message = validate(ResultMessage, payload)
    try:
        check_project_id(message.project_id)
        check_bead_id(message.bead_id)
    except Invalid as error:
        raise UnreadableMessage(error.detail, reason="wrong_type") from error
    return message
