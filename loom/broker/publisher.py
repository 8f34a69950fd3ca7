"""Publishing with confirms: a batch is written at once, and each message's outcome is known."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Method

from loom.broker.confirms import Batch, Published, Status
from loom.broker.connection import Connection, Link, reason_of
from loom.messaging.envelope import JSON, Envelope
from loom.settings import BrokerSettings
from loom.telemetry import logs
from loom.telemetry.failpoints import unguarded

PERSISTENT = 2

log = logs.get(__name__)


class Publisher:
    """Publishes batches on a connection of its own, made when it is first needed.

    A connection on which something went wrong is thrown away: what the broker says afterwards
    cannot be taken for the answer to a later message.
    """

    def __init__(self, settings: BrokerSettings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._lock = threading.Lock()
        self._session: _Session | None = None

    def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
        """Publish persistently; one outcome for each envelope, in their order, within timeout_s.

        Raises Unavailable when no connection can be made; then nothing was sent.
        """
        if not envelopes:
            return []
        with self._lock:
            if self._session is None or not self._session.link.usable:
                session = _Session(self._settings, self._service)
                session.link.open()
                self._session = session
            session = self._session
            outcomes = session.publish(envelopes, timeout_s)
            if session.spent:
                log.warning("publisher_connection_dropped", why=session.spent)
                self._session = None
                session.link.close()
            return outcomes

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._session is not None:
                self._session.link.close(wait=True)
                self._session = None


class _Session:
    """One connection with one channel in confirm mode.

    spent: why it may not be used again; empty while it may.
    """

    def __init__(self, settings: BrokerSettings, service: str) -> None:
        self.link = Link(settings, service, self._opened, self._ended)
        self._user = settings.username
        self.spent = ""
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._next_tag = 1
        self._batch: Batch | None = None
        self._blocked = ""

    def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
        """One outcome for each envelope."""
        if self._blocked:
            return [Published(Status.UNCONFIRMED, self._blocked)] * len(envelopes)
        # The batch is in place before it is handed over, so that a connection that ends at any
        # moment gives it up.
        batch = self._batch = Batch(envelopes, self._next_tag)
        if not self.link.do(lambda: self._write(batch)):
            batch.give_up(self._lost())
        if not batch.wait(timeout_s):
            self.spent = f"not every confirm came in {timeout_s:g} s"
            batch.give_up(self.spent)
        elif not self.link.usable:
            self.spent = self._lost()
        elif batch.was_returned:
            self.spent = "a message was returned"
        return batch.outcomes()

    def _write(self, batch: Batch) -> None:
        if batch.done or self._connection is None or self._channel is None:
            return
        with self._connection.gathering():
            for index, envelope in enumerate(batch.envelopes):
                if not self._channel.is_open:
                    batch.give_up(self._lost())
                    return
                try:
                    self._channel.basic_publish(
                        envelope.exchange,
                        envelope.routing_key,
                        envelope.body,
                        _properties(envelope, self._user),
                        mandatory=envelope.mandatory and not unguarded("mandatory"),
                    )
                except Exception as error:  # noqa: BLE001 - pika encodes all before it sends any
                    batch.unwritable(index, f"{type(error).__name__}: {error}"[:500])
                else:
                    batch.sent(index)
                    self._next_tag += 1

    def _opened(self, connection: Connection) -> None:
        self._connection = connection
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _channel, error: self._channel_closed(error))
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_answer, callback=lambda _frame: self.link.ready())

    def _channel_closed(self, error: Exception) -> None:
        self.link.fail(reason_of(error))
        self._give_up(self._lost())

    def _on_answer(self, method: Method) -> None:
        answer = method.method
        if self._batch is not None:
            acked = isinstance(answer, spec.Basic.Ack)
            self._batch.answered(answer.delivery_tag, answer.multiple, acked=acked)

    def _on_return(
        self, _channel: Channel, back: spec.Basic.Return, properties: pika.BasicProperties, _: bytes
    ) -> None:
        reason = (
            f"{back.reply_code} {back.reply_text}: no queue takes {back.routing_key} "
            f"of the exchange {back.exchange}"
        )
        message_id = str(properties.message_id or "")
        if self._batch and not self._batch.returned(message_id, str(back.routing_key), reason):
            # Whose return it is cannot be told, so nothing more can be believed.
            self.link.fail(f"the broker returned {message_id!r}, which is not of this batch")

    def _on_blocked(self, _connection: Connection, method: Method) -> None:
        self._blocked = f"the broker takes no messages for now: {method.method.reason}"
        log.warning("broker_blocks_publishers", why=method.method.reason)
        self._give_up(self._blocked)

    def _on_unblocked(self, _connection: Connection, _method: Method) -> None:
        log.info("broker_takes_messages_again")
        self._blocked = ""

    def _ended(self, _why: str) -> None:
        self._give_up(self._lost())

    def _give_up(self, reason: str) -> None:
        if self._batch is not None:
            self._batch.give_up(reason)

    def _lost(self) -> str:
        return f"the connection was lost before the confirm: {self.link.why or 'no reason known'}"


def _properties(envelope: Envelope, user: str) -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type=envelope.content_type,
        content_encoding="utf-8" if envelope.content_type == JSON else None,
        headers=dict(envelope.headers),
        delivery_mode=PERSISTENT,
        correlation_id=envelope.correlation_id,
        message_id=envelope.message_id,
        user_id=envelope.user_id or user,
    )
