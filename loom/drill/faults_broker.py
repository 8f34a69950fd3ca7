"""Faults of the broker: nodes killed, stopped and cut apart, alarms, restarts in turn."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from random import Random

from loom.drill.cluster import NODES
from loom.drill.scratch import PROJECT, Scratch
from loom.errors import DeadlineExceeded
from loom.messaging.topology import task_key

WHOLE_S = 120.0
LOOK_S = 0.2


class _OnNodes:
    """Nodes that are killed, stay down, and are started again by heal()."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._pick = pick
        self._down: tuple[str, ...] = ()

    def _leader(self) -> str:
        return self._scratch.cluster.leader(task_key(PROJECT))

    def _follower(self) -> str:
        leader = self._leader()
        return self._pick.choice([node for node in NODES if node != leader])

    def _kill(self, nodes: Sequence[str]) -> None:
        self._down = tuple(nodes)
        for node in nodes:
            self._scratch.keeper.hold(node)

    def heal(self) -> None:
        """Start them again, all at once."""
        for node in self._down:
            self._scratch.keeper.release(node)
        for node in self._down:
            self._scratch.keeper.await_up(node)


class KillLeader(_OnNodes):
    """kill -9 of the node that leads the drill's tasks."""

    def inject(self) -> None:
        """Kill it."""
        self._kill([self._leader()])


class KillFollower(_OnNodes):
    """kill -9 of a node that follows."""

    def inject(self) -> None:
        """Kill it."""
        self._kill([self._follower()])


class KillMajority(_OnNodes):
    """kill -9 of the leader and a follower: no queue has a majority until one is back."""

    def inject(self) -> None:
        """Kill them."""
        self._kill([self._leader(), self._follower()])


class KillAll(_OnNodes):
    """kill -9 of every node."""

    def inject(self) -> None:
        """Kill them."""
        self._kill(NODES)


class Partition(_OnNodes):
    """The leader's node and the others no longer talk; clients reach all of them."""

    def inject(self) -> None:
        """Cut it off."""
        node = self._leader()
        self._down = (node,)
        self._scratch.cluster.part(node)

    def heal(self) -> None:
        """Let them talk again."""
        for node in self._down:
            self._scratch.cluster.join(node)


class PauseNode(_OnNodes):
    """SIGSTOP of the leader's node: its connections stay, and nothing is answered."""

    def inject(self) -> None:
        """Stop it."""
        node = self._leader()
        self._down = (node,)
        self._scratch.keeper.send(node, signal.SIGSTOP)

    def heal(self) -> None:
        """Let it go on."""
        for node in self._down:
            self._scratch.keeper.send(node, signal.SIGCONT)


class MemoryAlarm:
    """A node believes that it has used up its memory: the cluster blocks every publisher."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._node = pick.choice(NODES)

    def inject(self) -> None:
        """Lower the watermark below what it uses."""
        self._ctl("set_vm_memory_high_watermark", "absolute", "1MB")

    def heal(self) -> None:
        """Raise it."""
        self._ctl("set_vm_memory_high_watermark", "0.4")

    def _ctl(self, *arguments: str) -> None:
        self._scratch.cluster.ctl(self._node, *arguments)


class DiskAlarm(MemoryAlarm):
    """A node believes that its disk is full: the cluster blocks every publisher."""

    def inject(self) -> None:
        """Raise the limit above what is free."""
        self._ctl("set_disk_free_limit", "1000GB")

    def heal(self) -> None:
        """Lower it."""
        self._ctl("set_disk_free_limit", "16MB")


class RollingRestart(_OnNodes):
    """An orderly restart of one node after another, each when the cluster is whole again."""

    def inject(self) -> None:
        """Restart them."""
        deadline = time.monotonic() + WHOLE_S
        for node in NODES:
            self._scratch.keeper.restart(node)
            self._scratch.keeper.await_up(node)
            while not self._scratch.cluster.whole():
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(f"the cluster is not whole after {node}'s restart")
                time.sleep(LOOK_S)
