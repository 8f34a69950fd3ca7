"""Dead letters: how a consumer sends one off with its reason, and how the ledger reads one."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loom.domain.identity import BEAD_ID, PROJECT_ID
from loom.domain.replay import LetterState
from loom.errors import Invalid
from loom.messaging.envelope import JSON, Delivery, Envelope
from loom.messaging.sender import FORGED, fault_of_letter, project_of_agent
from loom.messaging.topology import (
    DEAD,
    DEAD_RESULTS_QUEUE,
    RESULTS,
    RESULTS_QUEUE,
    TASKS,
    dead_key,
    project_of_queue,
    result_key,
    task_key,
)

REASON = "x-loom-reason"
DETAIL = "x-loom-detail"
QUEUE = "x-loom-queue"
BEAD, EPOCH, PROJECT = "id", "epoch", "x-loom-project"
"""Headers that name the bead, as a task message has the first two."""
MAX_KEPT_BYTES = 1024 * 1024
"""How much of a dead letter's body the ledger keeps: all of any that Loom would have read."""
MAX_LISTED_BYTES = 64 * 1024
"""How much of it a list shows."""

_ROUTING = ("CC", "BCC")
"""Headers by which RabbitMQ sends a message to more queues (rabbitmq.com/docs/sender-selected)."""
_OF_DEATH = (REASON, DETAIL, QUEUE, PROJECT)
_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    queue: where it was taken from. reason: a short word (oversize, malformed, wrong_type,
    unknown_type, rejected, delivery_limit, …). body: its first MAX_KEPT_BYTES. bead_id: empty
    where none can be read. deaths: the broker's x-death history, as JSON. fingerprint: equal for
    letters that died of the same cause. size: of the body as it died. cut: the ledger has not
    kept all of it. id: the ledger's number. settled_at, settled_by, note: when, by whom and why
    it was dealt with.
    """

    message_id: str
    queue: str
    project_id: str
    bead_id: str
    epoch: int
    reason: str
    detail: str
    correlation_id: str
    headers: str
    deaths: str
    body: bytes
    fingerprint: str
    recorded_at: datetime | None = None
    content_type: str = ""
    size: int = 0
    id: int = 0
    state: LetterState = LetterState.OPEN
    settled_at: datetime | None = None
    settled_by: str = ""
    note: str = ""
    cut: bool = False


def dead_letter_key(queue: str) -> str:
    """Where the dead letters of a queue go at DEAD."""
    if queue in (RESULTS_QUEUE, DEAD_RESULTS_QUEUE):
        return DEAD_RESULTS_QUEUE
    return dead_key(project_of_queue(queue) or "_unknown")


def to_envelope(
    delivery: Delivery,
    reason: str,
    detail: str,
    message_id: str,
    about: Mapping[str, str | int] | None = None,
) -> Envelope:
    """The dead letter to publish for a delivery that cannot be handled; its body is untouched.

    message_id: used where the message has none of its own. about: BEAD, EPOCH and PROJECT, where
    the message has them in its body alone.
    """
    return Envelope(
        exchange=DEAD,
        routing_key=dead_letter_key(delivery.queue),
        body=delivery.body,
        message_id=delivery.message_id or message_id,
        correlation_id=delivery.correlation_id,
        headers={
            **{key: value for key, value in delivery.headers.items() if key not in _ROUTING},
            **(about or {}),
            REASON: reason,
            DETAIL: detail[:1000],
            QUEUE: delivery.queue,
        },
        content_type=delivery.content_type,
    )


def read(delivery: Delivery) -> DeadLetter:
    """The dead letter in a delivery from the ledger's queue; any bytes at all can be read."""
    headers = delivery.headers
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else {}
    first = first if isinstance(first, Mapping) else {}
    queue = _text(headers.get(QUEUE) or headers.get("x-first-death-queue") or first.get("queue"))
    reason = _text(
        headers.get(REASON) or headers.get("x-first-death-reason") or first.get("reason")
    )
    detail = _text(headers.get(DETAIL)) or f"the broker gave it up: {reason or 'unknown'}"
    bead_id = _text(headers.get(BEAD))
    epoch = headers.get(EPOCH)
    project_id = project_of_queue(queue) or project_of_queue(delivery.routing_key)
    of_agent = project_of_agent(delivery.user_id)
    if queue == RESULTS_QUEUE and not project_id:
        # Of a result that the broker gave up, the headers are still the agent's.
        project_id = of_agent or _project(headers.get(PROJECT))
    fault = fault_of_letter(delivery, project_id)
    if fault:
        # Where it stands, since nobody knows where it was: it cannot be replayed from there.
        project_id, queue, reason, detail = of_agent, _text(delivery.routing_key), FORGED, fault
        bead_id, epoch = "", 0
    cause = "|".join((project_id, reason or "unknown", _NUMBERS.sub("#", detail)))
    return DeadLetter(
        # A foreign message may have no id: the same bytes from the same queue get the same one,
        # so that a redelivery is recorded once.
        message_id=_text(delivery.message_id) or _digest(queue.encode(), delivery.body),
        queue=queue or _text(delivery.routing_key),
        project_id=project_id,
        bead_id=bead_id if BEAD_ID.fullmatch(bead_id) else "",
        epoch=int(epoch) if type(epoch) is not bool and isinstance(epoch, int) and epoch > 0 else 0,
        reason=reason or "unknown",
        detail=detail,
        correlation_id=_text(delivery.correlation_id),
        headers=json.dumps(_plain(headers), sort_keys=True),
        deaths=json.dumps(_plain(deaths or [])),
        body=delivery.body[:MAX_KEPT_BYTES],
        fingerprint=_digest(cause.encode())[:16],
        content_type=_text(delivery.content_type)[:200],
        size=len(delivery.body),
        cut=len(delivery.body) > MAX_KEPT_BYTES,
    )


def replayed(
    queue: str,
    headers: Mapping[str, Any],
    body: bytes,
    *,
    project_id: str,
    message_id: str,
    correlation_id: str,
    content_type: str,
) -> Envelope:
    """The message to publish so that a dead letter comes to the queue it died in again.

    Without the headers that its death left on it; message_id is a fresh one, so that a second
    death is told apart from the first. Raises Invalid for a queue that takes no replays.
    """
    exchange, key = address_of(queue, project_id)
    return Envelope(
        exchange=exchange,
        routing_key=key,
        body=body,
        message_id=message_id,
        correlation_id=correlation_id,
        headers={
            name: value
            for name, value in headers.items()
            if name not in (*_ROUTING, *_OF_DEATH) and not name.startswith(_BROKERS)
        },
        content_type=content_type or JSON,
    )


def address_of(queue: str, project_id: str) -> tuple[str, str]:
    """The exchange and the key by which a message reaches a queue that messages die in.

    project_id: of the letter. A result goes out under its key, so that it is no more believed than
    when the project's agent sent it. Raises Invalid for any other queue.
    """
    if queue == RESULTS_QUEUE:
        return RESULTS, result_key(project_id) if project_id else RESULTS_QUEUE
    if project_id and queue == task_key(project_id):
        return TASKS, queue
    raise Invalid(
        f"nothing can be sent to {queue[:200]!r} again: only a project's tasks and the results "
        "can. Discard the letter",
        field="queue",
    )


def _project(value: object) -> str:
    text = _text(value)
    return text if PROJECT_ID.fullmatch(text) else ""


def _text(value: object) -> str:
    return _storable(value) if isinstance(value, str) else ""


def _storable(text: str) -> str:
    """The text without what PostgreSQL and protobuf cannot hold: NUL, and half surrogate pairs."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _plain(value: object) -> Any:
    """A broker header value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {_storable(str(k)): _plain(v) for k, v in value.items() if k != "x-death"}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int):
        return value
    return _storable(str(value))
