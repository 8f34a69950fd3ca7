"""Where the broker differs from the topology: found and said, never repaired behind one's back.

The rows are those of RabbitMQ's management API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loom.messaging.topology import Permission, Topology
from loom.stack.rabbitmq import as_json

Row = Mapping[str, Any]


def of_exchanges(wanted: Topology, rows: Iterable[Row]) -> list[str]:
    """What is wrong with the exchanges, a sentence each."""
    found = {row["name"]: row for row in rows}
    faults = []
    for exchange in wanted.exchanges:
        row = found.get(exchange.name)
        if row is None:
            faults.append(f"the exchange {exchange.name} is missing")
            continue
        is_so = (row["type"], row["durable"], dict(row["arguments"]))
        should_be = (exchange.kind, True, exchange.arguments)
        if is_so != should_be:
            faults.append(f"the exchange {exchange.name} is {is_so}, and should be {should_be}")
    return faults


def of_queues(wanted: Topology, rows: Iterable[Row], bindings: Iterable[Row]) -> list[str]:
    """What is wrong with the queues and their bindings, a sentence each."""
    found = {row["name"]: row for row in rows}
    bound = {(row["source"], row["routing_key"], row["destination"]) for row in bindings}
    faults = []
    for queue in wanted.queues:
        row = found.get(queue.name)
        if row is None:
            faults.append(f"the queue {queue.name} is missing")
            continue
        arguments = dict(row["arguments"])
        if not row["durable"] or arguments != queue.arguments:
            faults.append(
                f"the queue {queue.name} has the arguments {arguments}, and should have "
                f"{queue.arguments}"
            )
        faults += [
            f"the queue {queue.name} is not bound to {binding.exchange} by {binding.key!r}"
            for binding in queue.bindings
            if (binding.exchange, binding.key, queue.name) not in bound
        ]
    return faults


def of_permissions(
    wanted: Mapping[str, Permission], rows: Iterable[Row], topic_rows: Iterable[Row]
) -> list[str]:
    """What is wrong with the users' permissions, a sentence each; a user too many is one too."""
    found = {row["user"]: row for row in rows}
    limits = {
        (row["user"], row["exchange"], row["write"], row["read"])
        for row in topic_rows
        if row["user"] in wanted
    }
    faults = [
        f"the user {name} may use the vhost, and is none of Loom's"
        for name in found.keys() - wanted
    ]
    for name, permission in wanted.items():
        row = found.get(name)
        if row is None:
            faults.append(f"the user {name} has no permission")
        elif any(row[right] != pattern for right, pattern in as_json(permission).items()):
            faults.append(f"the user {name} has other permissions than the topology grants")
    should = {
        (name, topic.exchange, topic.write, topic.read)
        for name, permission in wanted.items()
        for topic in permission.topics
    }
    faults += [
        f"the user {name} has other limits by routing key at {exchange} than the topology sets"
        for name, exchange in sorted({limit[:2] for limit in limits ^ should})
    ]
    return sorted(faults)
