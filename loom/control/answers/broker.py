"""How the broker itself is."""

from __future__ import annotations

from typing import Literal

from loom.control.answers.answer import Answer, Count


class NodeOut(Answer):
    """A node of the broker; what is in bytes is named so."""

    name: str
    running: bool
    troubles: list[Literal["down", "memory", "disk", "partition"]]
    apart: list[str]
    memory_used_bytes: Count
    memory_limit_bytes: Count
    disk_free_bytes: Count
    disk_limit_bytes: Count
    connections: Count
    up_s: float


class TrafficOut(Answer):
    """What goes through a queue, in messages a second; null: nobody has counted yet."""

    queue: str
    state: str
    node: str
    consumers: Count | None
    published: float | None
    delivered: float | None
    acked: float | None
    online: Count
    members: Count


class BrokerOut(Answer):
    """The broker's nodes, and the queues that the caller may see. why: nobody tells."""

    why: str
    nodes: list[NodeOut]
    queues: list[TrafficOut]
