"""A broker in memory that delivers, takes back and dead-letters, and can be made to fail.

Routing and confirms are FakeBroker's; all chance comes from the caller's generator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from loom.broker.confirms import Published
from loom.domain.reconciliation import Depth
from loom.messaging.envelope import Delivery, Envelope
from loom.messaging.topology import DEAD
from loom.testing.broker import FakeBroker


@dataclass(frozen=True, slots=True)
class Standing:
    """A message in a queue. returns: how often a consumer gave it back or died with it."""

    envelope: Envelope
    returns: int = 0


@dataclass(slots=True)
class SimulatedBroker:
    """Queues with consumers. random: decides which message comes next where they may be
    reordered."""

    random: Random
    reorder: bool = True
    fake: FakeBroker = field(default_factory=FakeBroker)
    counts: Counter[str] = field(default_factory=Counter)
    _returned: dict[str, list[Standing]] = field(default_factory=dict)
    _unacked: dict[int, tuple[str, str, Standing]] = field(default_factory=dict)
    _tags: int = 0

    def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
        """As FakeBroker; raises Unavailable while it is away."""
        return self.fake.publish(envelopes, timeout_s)

    def deliver(self, queue: str, consumer: str) -> Delivery | None:
        """The next message of the queue, unacknowledged from now on; None if there is none."""
        standing = self._next(queue)
        if standing is None:
            return None
        self._tags += 1
        self._unacked[self._tags] = (queue, consumer, standing)
        envelope = standing.envelope
        return Delivery(
            tag=self._tags,
            queue=queue,
            exchange=envelope.exchange,
            routing_key=envelope.routing_key,
            body=envelope.body,
            headers=envelope.headers,
            message_id=envelope.message_id,
            correlation_id=envelope.correlation_id,
            content_type=envelope.content_type,
            redelivered=standing.returns > 0,
            user_id=envelope.user_id or self.fake.user,
        )

    def holds(self, consumer: str, tag: int) -> bool:
        """The consumer's connection lives, and the message is still its."""
        return tag in self._unacked and self._unacked[tag][1] == consumer

    def ack(self, consumer: str, tag: int) -> None:
        """Forget the message; of a connection that is gone nothing is acknowledged."""
        if self.holds(consumer, tag):
            del self._unacked[tag]

    def drop(self, consumer: str) -> None:
        """The consumer's connection is gone: what it has not acknowledged goes back."""
        for tag in [t for t, (_, owner, _) in self._unacked.items() if owner == consumer]:
            queue, _, standing = self._unacked.pop(tag)
            self._give_back(queue, replace(standing, returns=standing.returns + 1))

    def lose(self, queue: str) -> bool:
        """Lose one message that the broker had confirmed, as no broker should."""
        ready = self.fake.messages[queue]
        if ready:
            ready.pop(self.random.randrange(len(ready)))
            self.counts["lost"] += 1
        return bool(ready)

    def duplicate(self, queue: str) -> bool:
        """Put a second copy of one message into its queue."""
        ready = self.fake.messages[queue]
        if ready:
            ready.append(self.random.choice(ready))
            self.counts["duplicated"] += 1
        return bool(ready)

    def depths(self, queues: Sequence[str]) -> list[Depth]:
        """What stands in the queues."""
        return [
            Depth(
                queue,
                len(self.fake.messages[queue]) + len(self._returned.get(queue, ())),
                sum(of == queue for of, _, _ in self._unacked.values()),
            )
            for queue in queues
        ]

    def _next(self, queue: str) -> Standing | None:
        returned = self._returned.get(queue)
        if returned:
            return returned.pop(0)
        ready = self.fake.messages[queue]
        if not ready:
            return None
        index = self.random.randrange(len(ready)) if self.reorder else 0
        self.counts["reordered"] += index > 0
        return Standing(ready.pop(index))

    def _give_back(self, queue: str, standing: Standing) -> None:
        self.counts["redelivered"] += 1
        declared = self.fake.queues[queue]
        if standing.returns <= declared.delivery_limit:
            self._returned.setdefault(queue, []).append(standing)
            return
        self.counts["dead-lettered"] += 1
        death = {"queue": queue, "reason": "delivery_limit", "count": 1}
        envelope = standing.envelope
        self.fake.publish(
            [
                replace(
                    envelope,
                    exchange=DEAD,
                    routing_key=declared.dead_letter_key,
                    headers={**envelope.headers, "x-death": [death]},
                )
            ],
            0.0,
        )
