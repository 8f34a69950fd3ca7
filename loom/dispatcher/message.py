"""An outbox row as the message it stands for."""

from __future__ import annotations

from pydantic import ValidationError

from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.errors import Invalid, TooLarge
from loom.messaging import deadletter, event, task
from loom.messaging.envelope import Envelope, why_invalid
from loom.messaging.topology import MAX_TASK_BYTES


def envelope_of(row: OutboxRow, traceparent: str) -> Envelope:
    """The message of a row, under this trace context.

    Raises Invalid or TooLarge for a row that cannot be made into a message.
    """
    try:
        envelope = {
            OutboxKind.TASK: lambda: _task(row, traceparent),
            OutboxKind.EVENT: lambda: _event(row),
            OutboxKind.REPLAY: lambda: _replay(row),
        }[row.kind]()
    except ValidationError as error:
        raise Invalid(
            f"outbox row {row.id} makes no {row.kind.value} message: {why_invalid(error)}"
        ) from error
    if row.kind is not OutboxKind.REPLAY and len(envelope.body) > MAX_TASK_BYTES:
        raise TooLarge(
            f"outbox row {row.id} makes a message of {len(envelope.body)} bytes: "
            f"the limit is {MAX_TASK_BYTES}"
        )
    return envelope


def _task(row: OutboxRow, traceparent: str) -> Envelope:
    check_project_id(row.project_id)
    check_bead_id(row.bead_id)
    message = task.TaskMessage.model_validate(
        {
            "type": row.type,
            "project_id": row.project_id,
            "bead_id": row.bead_id,
            "assigned_to": f"agents of {row.project_id}",
            "task_data": dict(row.payload),
            "correlation_id": row.correlation_id,
            "timestamp": row.created_at,
        }
    )
    return task.to_envelope(task.Task(message, row.message_id, row.epoch, row.attempt, traceparent))


def _event(row: OutboxRow) -> Envelope:
    message = event.EventMessage(
        type=row.type,
        project_id=row.project_id,
        bead_id=row.bead_id,
        data=dict(row.payload),
        correlation_id=row.correlation_id,
        timestamp=row.created_at,
    )
    return event.to_envelope(message, row.message_id, row.traceparent)


def _replay(row: OutboxRow) -> Envelope:
    payload = row.payload
    return deadletter.replayed(
        str(payload["queue"]),
        dict(payload["headers"]),
        row.body,
        project_id=row.project_id,
        message_id=row.message_id,
        correlation_id=row.correlation_id,
        content_type=str(payload["content_type"]),
    )
