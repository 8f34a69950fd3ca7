"""The event message: one change of state, told to whoever listens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from loom.messaging.envelope import VERSION, Envelope
from loom.messaging.topology import EVENTS, event_key


class EventMessage(BaseModel):
    """One change of state. type: `bead.created`, `bead.closed`, `project.created`, …"""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    project_id: str
    bead_id: str = ""
    data: dict[str, Any] = Field(default_factory=dict)
    correlation_id: str
    timestamp: datetime


def to_envelope(event: EventMessage, message_id: str, traceparent: str = "") -> Envelope:
    """The message to publish; not mandatory, since nobody has to listen."""
    headers: dict[str, Any] = {"version": VERSION, "message_id": message_id}
    if traceparent:
        headers["traceparent"] = traceparent
    return Envelope(
        exchange=EVENTS,
        routing_key=event_key(event.type),
        body=event.model_dump_json().encode(),
        message_id=message_id,
        correlation_id=event.correlation_id,
        headers=headers,
        mandatory=False,
    )
