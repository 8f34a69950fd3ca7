"""How the broker itself is: its nodes with their alarms, and who takes what from its queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Trouble(StrEnum):
    """What may be wrong with a node."""

    DOWN = "down"
    MEMORY = "memory"
    """It uses more than it may, and takes no message from any publisher until it uses less."""
    DISK = "disk"
    """Too little of its disk is free, and it takes no message until there is more."""
    PARTITION = "partition"
    """It lost sight of other nodes that are there, and they of it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the broker. Bytes; disk_limit: what has to stay free. apart: nodes that it lost."""

    name: str
    running: bool = True
    memory_alarm: bool = False
    disk_alarm: bool = False
    apart: tuple[str, ...] = ()
    memory_used: int = 0
    memory_limit: int = 0
    disk_free: int = 0
    disk_limit: int = 0
    connections: int = 0
    up_s: float = 0.0

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What is wrong with it."""
        found = {
            Trouble.DOWN: not self.running,
            Trouble.MEMORY: self.memory_alarm,
            Trouble.DISK: self.disk_alarm,
            Trouble.PARTITION: bool(self.apart),
        }
        return tuple(trouble for trouble, holds in found.items() if holds)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What goes through a queue. Rates are messages a second; None: nobody has counted yet.

    state: running unless something is wrong with it. online of members: of its replicas.
    """

    queue: str
    consumers: int | None = None
    published: float | None = None
    delivered: float | None = None
    acked: float | None = None
    state: str = "running"
    node: str = ""
    online: int = 0
    members: int = 0


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The broker as its management tells it; some seconds old. why: nobody tells."""

    nodes: tuple[Node, ...] = ()
    queues: Mapping[str, Traffic] = field(default_factory=dict)
    why: str = ""

    @property
    def troubles(self) -> tuple[tuple[Node, Trouble], ...]:
        """What is wrong, node by node."""
        return tuple((node, trouble) for node in self.nodes for trouble in node.troubles)
