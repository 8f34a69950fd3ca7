"""A broker in memory: it routes, confirms and returns as RabbitMQ does for Loom's topology.

tests/contract holds it to the suite that the real publisher passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loom.broker.confirms import Published, Status
from loom.errors import Unavailable
from loom.messaging.envelope import Delivery, Envelope
from loom.messaging.topology import Exchange, Queue, Topology


@dataclass(slots=True)
class FakeBroker:
    """Exchanges, queues and what stands in them; and the troubles a test can make.

    away: nothing can connect. blocked: it takes no messages for now, for this reason.
    lose_after: the connection is lost after so many messages of the next batch, before any
    confirm. user: who publishes what names no user of its own.
    """

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    messages: dict[str, list[Envelope]] = field(default_factory=dict)
    declared: list[Topology] = field(default_factory=list)
    away: bool = False
    blocked: str = ""
    lose_after: int | None = None
    user: str = "operator"

    def declare(self, topologies: Iterable[Topology]) -> None:
        """Make what is missing; raises Unavailable while the broker is away."""
        self._check_there()
        for topology in topologies:
            self.declared.append(topology)
            self.exchanges.update({exchange.name: exchange for exchange in topology.exchanges})
            for queue in topology.queues:
                self.queues[queue.name] = queue
                self.messages.setdefault(queue.name, [])

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what stands in it."""
        del self.queues[name], self.messages[name]

    def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
        """One outcome for each envelope, as loom.broker.publisher.Publisher gives it."""
        self._check_there()
        if self.blocked:
            return [Published(Status.UNCONFIRMED, self.blocked)] * len(envelopes)
        outcomes: list[Published] = []
        lose_after, self.lose_after = self.lose_after, None
        for position, envelope in enumerate(envelopes):
            if position == lose_after or envelope.exchange not in self.exchanges:
                lost = Published(Status.UNCONFIRMED, "the connection was lost before the confirm")
                return [lost] * len(envelopes)
            outcomes.append(self._take(envelope))
        return outcomes

    def close(self) -> None:
        """There is no connection to close."""

    def take(self, queue: str, limit: int = 1_000) -> FakeTaken:
        """Deliver what stands in a queue."""
        deliveries = [
            Delivery(
                tag=tag,
                queue=queue,
                exchange=envelope.exchange,
                routing_key=envelope.routing_key,
                body=envelope.body,
                headers=envelope.headers,
                message_id=envelope.message_id,
                correlation_id=envelope.correlation_id,
                content_type=envelope.content_type,
                user_id=envelope.user_id or self.user,
            )
            for tag, envelope in enumerate(self.messages[queue][:limit], 1)
        ]
        return FakeTaken(deliveries)

    def _check_there(self) -> None:
        if self.away:
            raise Unavailable("the broker in memory is away")

    def _take(self, envelope: Envelope) -> Published:
        if not _writable(envelope.headers) or len(envelope.routing_key.encode()) > 255:
            return Published(Status.UNWRITABLE, "AMQP has no such value")
        queues = self._route(envelope.exchange, envelope.routing_key)
        if not queues and envelope.mandatory:
            return Published(
                Status.RETURNED,
                f"312 NO_ROUTE: no queue takes {envelope.routing_key} "
                f"of the exchange {envelope.exchange}",
            )
        for queue in queues:
            self.messages[queue].append(envelope)
        return Published(Status.CONFIRMED)

    def _route(self, exchange: str, key: str) -> set[str]:
        kind = self.exchanges[exchange].kind
        found = {
            queue.name
            for queue in self.queues.values()
            for binding in queue.bindings
            if binding.exchange == exchange and _matches(kind, binding.key, key)
        }
        alternate = self.exchanges[exchange].alternate
        return found if found or not alternate else self._route(alternate, key)


@dataclass(slots=True)
class FakeTaken:
    """Deliveries, and which of them were acknowledged."""

    deliveries: Sequence[Delivery]
    acked: list[Delivery] = field(default_factory=list)

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """They are dealt with."""
        self.acked.extend(deliveries)


def _matches(kind: str, pattern: str, key: str) -> bool:
    """Whether a binding takes the key. Source: rabbitmq.com/tutorials/amqp-concepts."""
    if kind == "fanout":
        return True
    if kind == "direct":
        return pattern == key
    return _topic(pattern.split("."), key.split("."))


def _topic(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_topic(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _topic(pattern[1:], words[1:])


def _writable(value: object) -> bool:
    """pika writes no floats and no values of other classes."""
    if isinstance(value, Mapping):
        return all(len(str(k).encode()) <= 255 and _writable(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_writable(item) for item in value)
    return value is None or isinstance(value, str | bytes | bool | int)
