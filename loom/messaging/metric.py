"""The metric message: one number that a service publishes for whoever listens."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from loom.messaging.envelope import VERSION, Envelope
from loom.messaging.topology import METRICS, metric_key

UNACCOUNTED = "loom.beads.unaccounted"
"""Beads that neither ledger nor broker would ever end; it must be 0."""


class MetricMessage(BaseModel):
    """One number. name: dotted words; service: who measured it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    value: float
    service: str
    timestamp: datetime


def to_envelope(metric: MetricMessage, message_id: str) -> Envelope:
    """The message to publish; not mandatory, since nobody has to listen."""
    return Envelope(
        exchange=METRICS,
        routing_key=metric_key(metric.service),
        body=metric.model_dump_json().encode(),
        message_id=message_id,
        correlation_id=message_id,
        headers={"version": VERSION, "message_id": message_id},
        mandatory=False,
    )
