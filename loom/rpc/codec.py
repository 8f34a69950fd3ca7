"""The domain's values as messages of the contract, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from loom.domain import rulebook
from loom.domain.audit import AuditLine, Intervention
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.evidence import FailureClass
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.domain.project import Project, ProjectState
from loom.domain.replay import LetterGroup, LetterState, Replay, ReplayState
from loom.messaging.deadletter import DeadLetter
from loom.messaging.result import ResultMessage
from loom.rpc.evidence import (
    artifacts_from_pb,
    artifacts_to_pb,
    commits_from_pb,
    commits_to_pb,
    steps_from_pb,
    steps_to_pb,
    sub_beads_to_pb,
)
from loom.rpc.v1 import database_pb2 as pb


def stamp(moment: datetime | None) -> Timestamp | None:
    """A moment with its zone, as a protobuf timestamp."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment.astimezone(UTC))
    return timestamp


def moment(timestamp: Timestamp) -> datetime:
    """A protobuf timestamp in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def bead_to_pb(bead: Bead) -> pb.Bead:
    """A bead as the ledger has it."""
    return pb.Bead(
        id=bead.id,
        project_id=bead.project_id,
        title=bead.title,
        description=bead.description,
        context=json.dumps(dict(bead.context)),
        priority=bead.priority,
        state=bead.state.value,
        resolution=bead.resolution.value if bead.resolution else "",
        reason=bead.reason,
        epoch=bead.epoch,
        version=bead.version,
        correlation_id=bead.correlation_id,
        commits=commits_to_pb(bead.commits),
        created_at=stamp(bead.created_at),
        updated_at=stamp(bead.updated_at),
        closed_at=stamp(bead.closed_at),
        not_before=stamp(bead.not_before),
        blocked_by=bead.blocked_by,
        parent=bead.parent,
        max_attempts=bead.max_attempts,
        assignee=bead.assignee,
    )


def bead_from_pb(bead: pb.Bead) -> Bead:
    """A bead as the ledger has it."""
    return Bead(
        id=bead.id,
        project_id=bead.project_id,
        title=bead.title,
        description=bead.description,
        context=json.loads(bead.context or "{}"),
        priority=bead.priority,
        state=State(bead.state),
        resolution=Resolution(bead.resolution) if bead.resolution else None,
        reason=bead.reason,
        epoch=bead.epoch,
        version=bead.version,
        correlation_id=bead.correlation_id,
        commits=commits_from_pb(bead.commits),
        created_at=moment(bead.created_at),
        updated_at=moment(bead.updated_at),
        closed_at=moment(bead.closed_at) if bead.HasField("closed_at") else None,
        not_before=moment(bead.not_before) if bead.HasField("not_before") else None,
        blocked_by=tuple(bead.blocked_by),
        parent=bead.parent,
        max_attempts=bead.max_attempts,
        assignee=bead.assignee,
    )


def new_bead_to_pb(bead: NewBead) -> pb.NewBead:
    """A bead as it is filed."""
    return pb.NewBead(
        id=bead.id,
        title=bead.title,
        description=bead.description,
        context=json.dumps(dict(bead.context)),
        priority=bead.priority,
        not_before=stamp(bead.not_before),
        blocked_by=bead.blocked_by,
        parent=bead.parent,
        max_attempts=bead.max_attempts,
    )


def project_to_pb(project: Project) -> pb.Project:
    """A project."""
    return pb.Project(
        id=project.id,
        repository=project.repository,
        name=project.name,
        default_branch=project.default_branch,
        test_command=project.test_command,
        timeout_s=project.timeout_s,
        queue_window=project.queue_window,
        created_at=stamp(project.created_at),
        state=project.state.value,
        weight=project.weight,
        max_in_progress=project.max_in_progress,
        max_attempts=project.max_attempts,
        soft_timeout_s=project.soft_timeout_s,
        rules=rulebook.dump(project.rules),
        version=project.version,
    )


def project_from_pb(project: pb.Project) -> Project:
    """A project."""
    return Project(
        id=project.id,
        repository=project.repository,
        name=project.name,
        default_branch=project.default_branch,
        test_command=tuple(project.test_command),
        timeout_s=project.timeout_s,
        queue_window=project.queue_window,
        created_at=moment(project.created_at) if project.HasField("created_at") else None,
        state=ProjectState(project.state or ProjectState.ACTIVE),
        weight=project.weight,
        max_in_progress=project.max_in_progress,
        max_attempts=project.max_attempts,
        soft_timeout_s=project.soft_timeout_s,
        rules=rulebook.load(project.rules),
        version=project.version or 1,
    )


def attempt_to_pb(attempt: Attempt) -> pb.Attempt:
    """One try at a bead."""
    return pb.Attempt(
        bead_id=attempt.bead_id,
        epoch=attempt.epoch,
        agent_id=attempt.agent_id,
        outcome=attempt.outcome,
        claimed_at=stamp(attempt.claimed_at),
        lease_until=stamp(attempt.lease_until),
        finished_at=stamp(attempt.finished_at),
        failure_class=attempt.failure_class.value if attempt.failure_class else "",
        reason=attempt.reason,
        output=attempt.output,
        steps=steps_to_pb(attempt.steps),
        commits=commits_to_pb(attempt.commits),
        artifacts=artifacts_to_pb(attempt.artifacts),
        notes=attempt.notes,
    )


def attempt_from_pb(attempt: pb.Attempt) -> Attempt:
    """One try at a bead."""
    return Attempt(
        bead_id=attempt.bead_id,
        epoch=attempt.epoch,
        agent_id=attempt.agent_id,
        outcome=attempt.outcome,
        claimed_at=moment(attempt.claimed_at),
        lease_until=moment(attempt.lease_until),
        finished_at=moment(attempt.finished_at) if attempt.HasField("finished_at") else None,
        failure_class=FailureClass(attempt.failure_class) if attempt.failure_class else None,
        reason=attempt.reason,
        output=attempt.output,
        steps=steps_from_pb(attempt.steps),
        commits=commits_from_pb(attempt.commits),
        artifacts=artifacts_from_pb(attempt.artifacts),
        notes=attempt.notes,
    )


def outbox_row_from_pb(row: pb.OutboxRow) -> OutboxRow:
    """A message the ledger owes."""
    kinds = {
        pb.OutboxKind.OUTBOX_KIND_TASK: OutboxKind.TASK,
        pb.OutboxKind.OUTBOX_KIND_EVENT: OutboxKind.EVENT,
        pb.OutboxKind.OUTBOX_KIND_REPLAY: OutboxKind.REPLAY,
    }
    return OutboxRow(
        id=row.id,
        kind=kinds[row.kind],
        type=row.type,
        message_id=row.message_id,
        project_id=row.project_id,
        bead_id=row.bead_id,
        epoch=row.epoch,
        attempt=row.attempt,
        correlation_id=row.correlation_id,
        traceparent=row.traceparent,
        created_at=moment(row.created_at),
        payload=json.loads(row.payload or "{}"),
        body=row.body,
    )


def result_to_pb(message: ResultMessage, traceparent: str) -> pb.Result:
    """An agent's report, for the ledger."""
    outcome = message.outcome()
    return pb.Result(
        message_id=message.message_id,
        project_id=message.project_id,
        bead_id=message.bead_id,
        epoch=message.epoch,
        agent_id=message.agent_id,
        succeeded=outcome.succeeded,
        progress=message.type == "task.progress",
        failure_class=outcome.failure_class.value if outcome.failure_class else "",
        reason=outcome.reason,
        output=outcome.output,
        commits=commits_to_pb(outcome.commits),
        steps=steps_to_pb(outcome.steps),
        artifacts=artifacts_to_pb(outcome.artifacts),
        planned=outcome.planned,
        notes=outcome.notes,
        sub_beads=sub_beads_to_pb(outcome.sub_beads),
        correlation_id=message.correlation_id,
        traceparent=traceparent,
    )


def dead_letter_to_pb(letter: DeadLetter) -> pb.DeadLetter:
    """A message that was given up."""
    return pb.DeadLetter(
        message_id=letter.message_id,
        queue=letter.queue,
        project_id=letter.project_id,
        bead_id=letter.bead_id,
        epoch=letter.epoch,
        reason=letter.reason,
        detail=letter.detail,
        correlation_id=letter.correlation_id,
        headers=letter.headers,
        deaths=letter.deaths,
        body=letter.body,
        fingerprint=letter.fingerprint,
        recorded_at=stamp(letter.recorded_at),
        id=letter.id,
        state=letter.state.value,
        size=letter.size,
        content_type=letter.content_type,
        settled_at=stamp(letter.settled_at),
        settled_by=letter.settled_by,
        note=letter.note,
        cut=letter.cut,
    )


def dead_letter_from_pb(letter: pb.DeadLetter) -> DeadLetter:
    """A message that was given up."""
    return DeadLetter(
        message_id=letter.message_id,
        queue=letter.queue,
        project_id=letter.project_id,
        bead_id=letter.bead_id,
        epoch=letter.epoch,
        reason=letter.reason,
        detail=letter.detail,
        correlation_id=letter.correlation_id,
        headers=letter.headers,
        deaths=letter.deaths,
        body=letter.body,
        fingerprint=letter.fingerprint,
        recorded_at=moment(letter.recorded_at) if letter.HasField("recorded_at") else None,
        content_type=letter.content_type,
        size=letter.size or len(letter.body),
        id=letter.id,
        state=LetterState(letter.state or LetterState.OPEN),
        settled_at=moment(letter.settled_at) if letter.HasField("settled_at") else None,
        settled_by=letter.settled_by,
        note=letter.note,
        cut=letter.cut,
    )


def group_to_pb(group: LetterGroup) -> pb.DeadLetterGroup:
    """Dead letters of one cause."""
    return pb.DeadLetterGroup(
        fingerprint=group.fingerprint,
        project_id=group.project_id,
        queue=group.queue,
        reason=group.reason,
        detail=group.detail,
        count=group.count,
        open=group.open,
        first_at=stamp(group.first_at),
        last_at=stamp(group.last_at),
        example_id=group.example_id,
    )


def group_from_pb(group: pb.DeadLetterGroup) -> LetterGroup:
    """Dead letters of one cause."""
    return LetterGroup(
        fingerprint=group.fingerprint,
        project_id=group.project_id,
        queue=group.queue,
        reason=group.reason,
        detail=group.detail,
        count=group.count,
        open=group.open,
        first_at=moment(group.first_at),
        last_at=moment(group.last_at),
        example_id=group.example_id,
    )


def replay_to_pb(replay: Replay) -> pb.Replay:
    """The replay of a group."""
    return pb.Replay(
        id=replay.id,
        fingerprint=replay.fingerprint,
        state=replay.state.value,
        rate_per_s=replay.rate_per_s,
        replayed=replay.replayed,
        refused=replay.refused,
        left=replay.left,
        why=replay.why,
        actor=replay.actor,
        reason=replay.reason,
        created_at=stamp(replay.created_at),
        ended_at=stamp(replay.ended_at),
    )


def replay_from_pb(replay: pb.Replay) -> Replay:
    """The replay of a group."""
    return Replay(
        id=replay.id,
        fingerprint=replay.fingerprint,
        state=ReplayState(replay.state),
        rate_per_s=replay.rate_per_s,
        replayed=replay.replayed,
        refused=replay.refused,
        left=replay.left,
        why=replay.why,
        actor=replay.actor,
        reason=replay.reason,
        created_at=moment(replay.created_at),
        ended_at=moment(replay.ended_at) if replay.HasField("ended_at") else None,
    )


def intervention_to_pb(by: Intervention) -> pb.Intervention:
    """Who does something, and why."""
    return pb.Intervention(
        actor=by.actor,
        reason=by.reason,
        correlation_id=by.correlation_id,
        traceparent=by.traceparent,
    )


def audit_line_to_pb(line: AuditLine) -> pb.AuditLine:
    """One thing that somebody did."""
    return pb.AuditLine(
        id=line.id,
        at=stamp(line.at),
        actor=line.actor,
        action=line.action,
        target=line.target,
        reason=line.reason,
        correlation_id=line.correlation_id,
        detail=json.dumps(dict(line.detail)),
    )


def audit_line_from_pb(line: pb.AuditLine) -> AuditLine:
    """One thing that somebody did."""
    return AuditLine(
        id=line.id,
        at=moment(line.at),
        actor=line.actor,
        action=line.action,
        target=line.target,
        reason=line.reason,
        correlation_id=line.correlation_id,
        detail=json.loads(line.detail or "{}"),
    )
