"""The report of an attempt: cut to what a message may hold, and published until it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from loom.broker.confirms import Published, Status
from loom.domain.evidence import Outcome
from loom.errors import Internal, Unavailable
from loom.messaging import result
from loom.messaging.envelope import Envelope
from loom.messaging.topology import MAX_RESULT_BYTES
from loom.telemetry import logs
from workers.cutting import cut

CONFIRM_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

log = logs.get(__name__)


class Publishes(Protocol):
    """What publishes envelopes with confirms."""

    def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
        """One outcome for each envelope; raises Unavailable when nothing was sent."""
        ...


def compose(
    outcome: Outcome,
    *,
    message_id: str,
    project_id: str,
    bead_id: str,
    agent_id: str,
    epoch: int,
    correlation_id: str,
    timestamp: datetime,
    traceparent: str = "",
) -> Envelope:
    """The message that reports the outcome, cut so that it stays below MAX_RESULT_BYTES."""
    share = 1.0
    while True:
        message = result.report(
            cut(outcome, share),
            message_id=message_id,
            project_id=project_id,
            bead_id=bead_id,
            agent_id=agent_id,
            epoch=epoch,
            correlation_id=correlation_id,
            timestamp=timestamp,
        )
        envelope = result.to_envelope(message, traceparent)
        # Control characters take six bytes each in JSON, so the length shows only now.
        if len(envelope.body) < MAX_RESULT_BYTES or share < 0.01:
            return envelope
        share /= 2


def publish(publisher: Publishes, envelope: Envelope) -> bool:
    """Publish once; whether the broker confirmed it. Raises Internal for what it can never take."""
    try:
        [published] = publisher.publish([envelope], CONFIRM_S)
    except Unavailable as error:
        why = error.detail
    else:
        if published.confirmed:
            return True
        if published.status is Status.UNWRITABLE:
            raise Internal(f"the result cannot be published: {published.reason}")
        why = published.reason
    log.warning("result_not_confirmed", why=why)
    return False


def deliver(publisher: Publishes, envelope: Envelope, pause: Callable[[float], None]) -> None:
    """Publish until the broker has confirmed it.

    pause: waits that many seconds before each try, and may raise to end it.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        pause(pause_s)
        if publish(publisher, envelope):
            return
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
