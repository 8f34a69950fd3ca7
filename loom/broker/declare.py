"""Declaring the topology: what is missing is made, and what differs is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from loom.broker.connection import every_parameters, reason_of, where
from loom.errors import Unavailable
from loom.messaging.topology import Exchange, Queue, Topology
from loom.settings import BrokerSettings
from loom.telemetry import logs

PRECONDITION_FAILED = 406

T = TypeVar("T")

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """Something stands on the broker otherwise than the topology says; it was left as it is."""

    kind: str
    name: str
    why: str


def declare(
    settings: BrokerSettings, service: str, topologies: Iterable[Topology]
) -> tuple[Drift, ...]:
    """Make what is missing of the topologies, in their order; say what differs.

    Raises Unavailable when the broker is away, or refuses for a reason other than drift.
    """
    try:
        connection = pika.BlockingConnection(every_parameters(settings, f"{service} (declare)"))
    except (exceptions.AMQPError, OSError) as error:
        raise Unavailable(f"{where(settings)} cannot be used: {reason_of(error)}") from error
    try:
        declarer = _Declarer(connection)
        for topology in topologies:
            declarer.declare(topology)
        return tuple(declarer.drift)
    except (exceptions.AMQPError, OSError) as error:
        raise Unavailable(
            f"{where(settings)} did not take the topology: {reason_of(error)}"
        ) from error
    finally:
        if connection.is_open:
            connection.close()


class _Declarer:
    """Declares on one connection; a refusal closes the channel, so the next step opens another."""

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection
        self._channel: BlockingChannel = connection.channel()
        self.drift: list[Drift] = []

    def declare(self, topology: Topology) -> None:
        for exchange in topology.exchanges:
            self._attempt("exchange", exchange.name, self._exchange, exchange)
        for queue in topology.queues:
            self._attempt("queue", queue.name, self._queue, queue)
            for binding in queue.bindings:
                self._channel.queue_bind(queue.name, binding.exchange, binding.key)

    def _exchange(self, exchange: Exchange) -> None:
        self._channel.exchange_declare(
            exchange.name, exchange.kind, durable=True, arguments=exchange.arguments or None
        )

    def _queue(self, queue: Queue) -> None:
        self._channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)

    def _attempt(self, kind: str, name: str, step: Callable[[T], None], what: T) -> None:
        try:
            step(what)
        except exceptions.ChannelClosedByBroker as error:
            if error.reply_code != PRECONDITION_FAILED:
                raise
            drift = Drift(kind, name, error.reply_text)
            log.error("topology_drift", kind=kind, name=name, why=drift.why)
            self.drift.append(drift)
            self._channel = self._connection.channel()
