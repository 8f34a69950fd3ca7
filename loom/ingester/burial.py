"""Dead-lettering: a message goes to its dead-letter queue, confirmed, before it is acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from loom.broker.confirms import Published, Status
from loom.domain.identity import new_message_id
from loom.errors import Unavailable
from loom.messaging import deadletter
from loom.messaging.envelope import Delivery, Envelope
from loom.telemetry import logs, process

log = logs.get(__name__)

_KEPT = (
    deadletter.REASON, deadletter.DETAIL, deadletter.QUEUE, deadletter.BEAD, deadletter.EPOCH,
    deadletter.PROJECT,
)  # fmt: skip

Publish = Callable[[Sequence[Envelope], float], list[Published]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A delivery that is given up.

    reason: a short word; detail: for a person. about: headers that name its bead, where the
    message could be read.
    """

    delivery: Delivery
    reason: str
    detail: str
    about: Mapping[str, str | int] = field(default_factory=dict)


class Undertaker:
    """Dead-letters what is refused. declare makes the topology again if a queue is missing."""

    def __init__(self, publish: Publish, declare: Callable[[], object], timeout_s: float) -> None:
        self._publish, self._declare, self._timeout_s = publish, declare, timeout_s

    def bury(self, refused: Sequence[Refused], stopping: threading.Event) -> None:
        """Return once the broker has every one of them; raises Stopped when it is time to stop."""
        left = [
            deadletter.to_envelope(r.delivery, r.reason, r.detail, new_message_id(), r.about)
            for r in refused
        ]

        def attempt() -> None:
            outcomes = self._publish(left, self._timeout_s)
            left[:] = [
                _writable(envelope) if outcome.status is Status.UNWRITABLE else envelope
                for envelope, outcome in zip(left, outcomes, strict=True)
                if not outcome.confirmed
            ]
            if left:
                self._declare()
                raise Unavailable(next(o.reason for o in outcomes if not o.confirmed))

        if left:
            process.wait_for("the broker", attempt, stopping)
        for r in refused:
            log.error(
                "dead_lettered",
                queue=r.delivery.queue,
                reason=r.reason,
                why=r.detail,
                message_id=r.delivery.message_id,
                correlation_id=r.delivery.correlation_id,
            )


def _writable(envelope: Envelope) -> Envelope:
    """The same body without the headers that it came with, which AMQP does not take back."""
    return replace(
        envelope,
        headers={
            key: value
            for key, value in envelope.headers.items()
            if key in _KEPT and isinstance(value, str | int)
        },
        message_id=new_message_id(),
        correlation_id="",
        content_type="application/octet-stream",
    )
