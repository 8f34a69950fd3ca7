"""Taking single messages out of a queue that nobody consumes, and leaving the others in it."""

from __future__ import annotations

from collections.abc import Callable

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingConnection

from loom.broker.connection import Connection, every_parameters, reason_of, where
from loom.errors import Unavailable
from loom.messaging.envelope import Delivery
from loom.settings import BrokerSettings

MOST_LOOKED_AT = 5_000
MOST_BYTES = 64 * 1024 * 1024
"""How many messages, and how many bytes of them, are held while one is looked for."""
NOT_FOUND = 404


def take(
    settings: BrokerSettings, service: str, queue: str, wanted: Callable[[Delivery], bool]
) -> list[Delivery]:
    """Remove the wanted messages from the queue and return them; the others go back to it.

    What goes back may stand in another order (RabbitMQ 3.10 keeps none for what a channel held).
    Looks at each message that stands there now, up to the limits above. None for a queue that is
    not there. Raises Unavailable: what was wanted may be removed by then or not.
    """
    try:
        connection = BlockingConnection(
            every_parameters(settings, f"{service} (take)"),
            # pika's own drops the connection at headers that it cannot decode.
            _impl_class=Connection,
        )
    except (exceptions.AMQPError, OSError) as error:
        raise Unavailable(f"{where(settings)} cannot be used: {reason_of(error)}") from error
    try:
        return _take(connection, queue, wanted)
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return []
        raise Unavailable(f"{where(settings)} refuses {queue}: {reason_of(error)}") from error
    except (exceptions.AMQPError, OSError) as error:
        raise Unavailable(f"{where(settings)} was lost: {reason_of(error)}") from error
    finally:
        # Whatever is held goes back.
        if connection.is_open:
            connection.close()


def _take(
    connection: BlockingConnection, queue: str, wanted: Callable[[Delivery], bool]
) -> list[Delivery]:
    channel = connection.channel()
    standing = channel.queue_declare(queue, passive=True).method.message_count
    taken: list[Delivery] = []
    held = 0
    for _ in range(min(standing, MOST_LOOKED_AT)):
        method, properties, body = channel.basic_get(queue)
        if method is None:
            break
        delivery = _delivery(queue, method, properties, body)
        if wanted(delivery):
            channel.basic_ack(delivery.tag)
            taken.append(delivery)
        else:
            held += len(body)
        if held > MOST_BYTES:
            break
    # The broker answers in order: after this it has every acknowledgement.
    channel.queue_declare(queue, passive=True)
    return taken


def _delivery(
    queue: str, method: pika.spec.Basic.GetOk, properties: pika.BasicProperties, body: bytes
) -> Delivery:
    return Delivery(
        tag=method.delivery_tag,
        queue=queue,
        exchange=method.exchange,
        routing_key=method.routing_key,
        body=body,
        headers=properties.headers or {},
        message_id=properties.message_id or "",
        correlation_id=properties.correlation_id or "",
        content_type=properties.content_type or "",
        redelivered=method.redelivered,
        user_id=properties.user_id or "",
    )
