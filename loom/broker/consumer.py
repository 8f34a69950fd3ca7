"""Consuming in batches: what has arrived is taken together, and acknowledged together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Method

from loom.broker.connection import Connection, Link, reason_of, where
from loom.errors import NotFound, Unavailable
from loom.messaging.envelope import Delivery
from loom.settings import BrokerSettings
from loom.telemetry import logs, process

NOT_FOUND = 404
"""AMQP's reply code for a queue that does not exist."""
STOP_CHECK_S = 0.1
"""How often an idle consumer looks whether it should stop."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """Some deliveries of one connection, which alone can acknowledge them.

    Once that connection is gone, the broker delivers them again, and acknowledging does nothing.
    """

    deliveries: Sequence[Delivery]
    _subscription: _Subscription

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """They are dealt with: the broker forgets them."""
        self._subscription.ack([delivery.tag for delivery in deliveries])

    def requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Give them back; each counts as one of the queue's limited deliveries."""
        self._subscription.requeue([delivery.tag for delivery in deliveries])


class Consumer:
    """Consumes one queue, with at most prefetch unacknowledged messages on its way."""

    def __init__(self, settings: BrokerSettings, service: str, queue: str, prefetch: int) -> None:
        self._settings, self._service = settings, service
        self._queue, self._prefetch = queue, prefetch
        self._subscription: _Subscription | None = None

    def batches(self, limit: int, wait_s: float, stopping: threading.Event) -> Iterator[Taken]:
        """Yield 1 to limit deliveries at a time, until stopping is set.

        A batch is not held back for longer than wait_s after its first delivery. Connects, and
        connects again with backoff whenever the connection is lost. Raises NotFound when there
        is no such queue, or none any more; declare it, and call again.
        """
        try:
            while not stopping.is_set():
                subscription = self._subscription = process.wait_for(
                    where(self._settings), self._connect, stopping
                )
                while not stopping.is_set() and not subscription.link.ended:
                    deliveries = subscription.take(limit, wait_s, stopping)
                    if deliveries:
                        yield Taken(deliveries, subscription)
                if subscription.gone:
                    raise NotFound(
                        f"the broker has no queue {self._queue} any more: declare it again",
                        queue=self._queue,
                    )
                if not stopping.is_set():
                    log.warning("broker_lost", queue=self._queue, why=subscription.link.why)
        except process.Stopped:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; what is not acknowledged goes back to the queue."""
        if self._subscription is not None:
            self._subscription.link.close(wait=True)
            self._subscription = None

    def _connect(self) -> _Subscription:
        subscription = _Subscription(self._settings, self._service, self._queue, self._prefetch)
        try:
            subscription.link.open()
        except Unavailable as error:
            if subscription.gone:
                raise NotFound(
                    f"the broker has no queue {self._queue}: declare it", queue=self._queue
                ) from error
            raise
        log.info("consuming", queue=self._queue, prefetch=self._prefetch)
        return subscription


class _Subscription:
    """One connection with one channel that consumes one queue. gone: the queue is not there."""

    def __init__(self, settings: BrokerSettings, service: str, queue: str, prefetch: int) -> None:
        self.link = Link(settings, service, self._opened, self._ended)
        self.gone = False
        self._queue, self._prefetch = queue, prefetch
        self._channel: Channel | None = None
        self._arrived: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._unacked: dict[int, None] = {}  # tags, as they came; the connection's thread's alone

    def take(self, limit: int, wait_s: float, stopping: threading.Event) -> list[Delivery]:
        """Up to limit deliveries; none if the connection ended, or if it is time to stop."""
        with self._changed:
            while not self._arrived:
                if self.link.ended or stopping.is_set():
                    return []
                self._changed.wait(STOP_CHECK_S)
            until = time.monotonic() + wait_s
            while len(self._arrived) < limit and not (self.link.ended or stopping.is_set()):
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(min(left, STOP_CHECK_S)):
                    break
            if self.link.ended:
                return []  # they are on their way to somebody else by now
            return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge the tags; one frame for all of them that no other tag stands before."""

        def send() -> None:
            if self._channel is None or not self._channel.is_open:
                return
            wanted = set(tags)
            last = 0
            for tag in self._unacked:
                if tag not in wanted:
                    break
                last = tag
            if last:
                self._channel.basic_ack(last, multiple=True)
            for tag in tags:
                if tag > last and tag in self._unacked:
                    self._channel.basic_ack(tag)
                self._unacked.pop(tag, None)

        self.link.do(send)

    def requeue(self, tags: Sequence[int]) -> None:
        """Give the tags back."""

        def send() -> None:
            if self._channel is None or not self._channel.is_open:
                return
            for tag in tags:
                if tag in self._unacked:
                    self._channel.basic_nack(tag, requeue=True)
                    del self._unacked[tag]

        self.link.do(send)

    def _opened(self, connection: Connection) -> None:
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _channel, error: self._channel_closed(error))
        channel.add_on_cancel_callback(self._cancelled)
        channel.basic_qos(prefetch_count=self._prefetch, callback=self._limited)

    def _limited(self, _frame: Method) -> None:
        if self._channel is not None:
            self._channel.basic_consume(
                self._queue, self._on_message, callback=lambda _frame: self.link.ready()
            )

    def _on_message(
        self, _: Channel, deliver: spec.Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> None:
        delivery = Delivery(
            tag=deliver.delivery_tag,
            queue=self._queue,
            exchange=_text(deliver.exchange),
            routing_key=_text(deliver.routing_key),
            body=body,
            headers=properties.headers or {},
            message_id=_text(properties.message_id),
            correlation_id=_text(properties.correlation_id),
            content_type=_text(properties.content_type),
            redelivered=bool(deliver.redelivered),
            user_id=_text(properties.user_id),
        )
        self._unacked[delivery.tag] = None
        with self._changed:
            self._arrived.append(delivery)
            self._changed.notify_all()

    def _cancelled(self, _frame: Method) -> None:
        self.gone = True
        self.link.fail(f"the broker ended the consumer of {self._queue}: its queue was deleted")

    def _channel_closed(self, error: Exception) -> None:
        self.gone = self.gone or getattr(error, "reply_code", 0) == NOT_FOUND
        self.link.fail(reason_of(error))

    def _ended(self, _why: str) -> None:
        with self._changed:
            self._changed.notify_all()


def _text(value: object) -> str:
    """A short string as pika decodes it: bytes where it is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
