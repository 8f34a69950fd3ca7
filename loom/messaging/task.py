"""The task message: a bead on its way to an agent, in Celery's message protocol 2.

Source of the envelope: docs.celeryq.dev/en/stable/internals/protocol.html#version-2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from loom.domain.identity import check_bead_id, check_project_id
from loom.errors import Invalid, UnreadableMessage
from loom.messaging.envelope import (
    VERSION,
    Envelope,
    check_version,
    read_json,
    validate,
)
from loom.messaging.topology import MAX_TASK_BYTES, TASKS, task_key

CELERY_TASK = "loom.bead"
"""The name under which agents register the work of a bead, and Flower shows it."""


class TaskData(BaseModel):
    """What the bead asks for."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    title: str
    description: str = ""
    context: dict[str, Any] = Field(default_factory=dict)


class TaskMessage(BaseModel):
    """A bead assigned to a project's agents, or called back from them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    type: Literal["task.assigned", "task.cancelled"]
    project_id: str
    bead_id: str
    assigned_to: str
    task_data: TaskData
    correlation_id: str
    timestamp: AwareDatetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task message with what stands in its headers.

    epoch: the epoch that a claim of it opens. attempt: 1 for the first try.
    """

    message: TaskMessage
    message_id: str
    epoch: int
    attempt: int
    traceparent: str = ""


def to_envelope(task: Task) -> Envelope:
    """The message to publish; its Celery task id is the bead's id, so one id finds both."""
    message = task.message
    headers: dict[str, Any] = {
        "lang": "py",
        "task": CELERY_TASK,
        "id": message.bead_id,
        "root_id": message.bead_id,
        "parent_id": None,
        "group": None,
        "argsrepr": f"({message.bead_id!r},)",
        "kwargsrepr": f"{{'epoch': {task.epoch}, 'attempt': {task.attempt}}}",
        "origin": "loom-dispatcher",
        "ignore_result": True,
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "version": VERSION,
        "message_id": task.message_id,
        "epoch": task.epoch,
        "attempt": task.attempt,
    }
    if task.traceparent:
        headers["traceparent"] = task.traceparent
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    # Escaped, text outside ASCII would take up to three times the room under the same limit.
    body = json.dumps(
        [[message.model_dump(mode="json")], {}, embed], separators=(",", ":"), ensure_ascii=False
    )
    return Envelope(
        exchange=TASKS,
        routing_key=task_key(message.project_id),
        body=body.encode(),
        message_id=task.message_id,
        correlation_id=message.correlation_id,
        headers=headers,
    )


def read(headers: Mapping[str, Any], body: bytes) -> Task:
    """The task in a received message; raises UnreadableMessage with `reason` in its data."""
    if headers.get("task") != CELERY_TASK:
        raise UnreadableMessage(
            f"the header 'task' is {str(headers.get('task'))[:80]!r}, not {CELERY_TASK!r}",
            reason="unknown_type",
        )
    check_version(headers, "the task")
    payload = read_json(body, MAX_TASK_BYTES, "a task message")
    try:
        message_fields = payload[0][0]
    except (TypeError, LookupError) as error:
        raise UnreadableMessage(
            "the body is not Celery's [args, kwargs, embed] with one argument", reason="malformed"
        ) from error
    kind = message_fields.get("type") if isinstance(message_fields, dict) else None
    if isinstance(kind, str) and kind not in ("task.assigned", "task.cancelled"):
        raise UnreadableMessage(f"no agent knows the type {kind[:80]!r}", reason="unknown_type")
    message = validate(TaskMessage, message_fields)
    try:
        check_project_id(message.project_id)
        check_bead_id(message.bead_id)
    except Invalid as error:
        raise UnreadableMessage(error.detail, reason="wrong_type") from error
    epoch, attempt = headers.get("epoch"), headers.get("attempt")
    if not _is_count(epoch) or not _is_count(attempt):
        raise UnreadableMessage(
            f"the headers epoch {str(epoch)[:40]} and attempt {str(attempt)[:40]} have to be whole "
            "numbers from 1",
            reason="wrong_type",
        )
    return Task(
        message=message,
        message_id=str(headers.get("message_id") or ""),
        epoch=int(epoch or 0),
        attempt=int(attempt or 0),
        traceparent=str(headers.get("traceparent") or ""),
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
