"""The result message: what an agent reports of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.domain.identity import check_bead_id, check_project_id
from loom.errors import Invalid, UnreadableMessage
from loom.messaging.envelope import VERSION, Envelope, check_version, read_json, validate
from loom.messaging.topology import MAX_RESULT_BYTES, RESULTS, result_key

TYPES = ("task.completed", "task.failed", "task.progress")


MAX_EPOCH = 2**63 - 1


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


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class CommitPart(_Part):
    """A pushed commit."""

    sha: Name
    branch: Name


class StepPart(_Part):
    """The evidence of one step; duration_s in seconds."""

    name: Name
    argv: list[Text]
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None
    duration_s: float = Field(ge=0, allow_inf_nan=False)
    output_tail: Text = ""


class ResultPart(_Part):
    """What came of the work."""

    status: Name
    commits: list[CommitPart] = Field(default_factory=list)
    output: Text = ""
    artifacts: list[Name] = Field(default_factory=list)


class ResultMessage(_Part):
    """What an agent reports of an attempt, under the epoch of its claim."""

    type: Literal["task.completed", "task.failed", "task.progress"]
    message_id: Name = Field(min_length=1, max_length=128)
    project_id: str
    bead_id: str
    agent_id: Name
    epoch: int = Field(ge=1, le=MAX_EPOCH)
    result: ResultPart
    evidence: list[StepPart] = Field(default_factory=list)
    failure_class: Literal["work", "infra", "timeout"] | None = None
    reason: Text = ""
    correlation_id: Name
    timestamp: AwareDatetime

    def outcome(self) -> Outcome:
        """The report as the domain's value."""
        return Outcome(
            succeeded=self.type == "task.completed",
            steps=tuple(
                Step(s.name, tuple(s.argv), s.exit_code, s.duration_s, s.output_tail)
                for s in self.evidence
            ),
            commits=tuple(Commit(c.sha, c.branch) for c in self.result.commits),
            output=self.result.output,
            failure_class=FailureClass(self.failure_class) if self.failure_class else None,
            reason=self.reason,
            artifacts=tuple(self.result.artifacts),
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
            commits=[CommitPart(sha=c.sha, branch=c.branch) for c in outcome.commits],
            output=outcome.output,
            artifacts=list(outcome.artifacts),
        ),
        evidence=[
            StepPart(
                name=s.name,
                argv=list(s.argv),
                exit_code=s.exit_code,
                duration_s=s.duration_s,
                output_tail=s.output_tail,
            )
            for s in outcome.steps
        ],
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
