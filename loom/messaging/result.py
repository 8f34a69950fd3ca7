"""The result message: what an agent reports of an attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.domain.identity import check_bead_id, check_project_id
from loom.errors import Invalid, UnreadableMessage
from loom.messaging.envelope import VERSION, Envelope, check_version, read_json, why_invalid
from loom.messaging.topology import MAX_RESULT_BYTES, RESULTS, result_key

TYPES = ("task.completed", "task.failed", "task.progress")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class CommitPart(_Part):
    """A pushed commit."""

    sha: str
    branch: str


class StepPart(_Part):
    """The evidence of one step; duration_s in seconds."""

    name: str
    argv: list[str]
    exit_code: int | None
    duration_s: float
    output_tail: str = ""


class ResultPart(_Part):
    """What came of the work."""

    status: str
    commits: list[CommitPart] = Field(default_factory=list)
    output: str = ""
    artifacts: list[str] = Field(default_factory=list)


class ResultMessage(_Part):
    """What an agent reports of an attempt, under the epoch of its claim."""

    type: Literal["task.completed", "task.failed", "task.progress"]
    message_id: str
    project_id: str
    bead_id: str
    agent_id: str
    epoch: int = Field(ge=1)
    result: ResultPart
    evidence: list[StepPart] = Field(default_factory=list)
    failure_class: Literal["work", "infra", "timeout"] | None = None
    reason: str = ""
    correlation_id: str
    timestamp: datetime

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
    try:
        message = ResultMessage.model_validate_json(json.dumps(payload))
        check_project_id(message.project_id)
        check_bead_id(message.bead_id)
    except ValidationError as error:
        raise UnreadableMessage(why_invalid(error), reason="wrong_type") from error
    except Invalid as error:
        raise UnreadableMessage(error.detail, reason="wrong_type") from error
    return message
