"""Faults of processes: killed, stopped for a while, replaced, restarted in turn."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from random import Random

from loom.drill.fleet import AGENT, LEASE_S
from loom.drill.keeper import children
from loom.drill.scratch import Scratch

ROLLED = ("database", "control", "dispatcher", "ingester", "engine", AGENT)
PAST_LEASE_S = LEASE_S + 3.0
"""So long that the lease has run out and the ledger has seen it."""
BACK_S = 30.0


class Kill:
    """kill -9 of one process of a kind; it is started again at once."""

    def __init__(self, scratch: Scratch, pick: Random, kind: str) -> None:
        self._scratch = scratch
        self._name = pick.choice(scratch.keeper.names(kind))

    def inject(self) -> None:
        """Kill it."""
        self._scratch.keeper.send(self._name, signal.SIGKILL)

    def heal(self) -> None:
        """It comes back by itself."""
        self._scratch.keeper.await_up(self._name)


class _OnAgent:
    """A fault of one agent, chosen by the seed."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._name = pick.choice(scratch.fleet.names(AGENT))

    def _parent(self) -> int:
        return self._scratch.keeper.await_up(self._name)

    def heal(self) -> None:
        """It comes back by itself."""
        self._scratch.keeper.await_up(self._name)


class KillAgentParent(_OnAgent):
    """kill -9 of an agent's parent; its pool processes find themselves orphans."""

    def inject(self) -> None:
        """Kill it."""
        _send([self._parent()], signal.SIGKILL)


class KillAgentChild(_OnAgent):
    """kill -9 of an agent's pool processes; what they run is left without a parent."""

    def inject(self) -> None:
        """Kill them."""
        _send(children(self._parent()), signal.SIGKILL)


class KillAgentBoth(_OnAgent):
    """kill -9 of an agent's parent and of its pool processes."""

    def inject(self) -> None:
        """Kill them."""
        parent = self._parent()
        _send([parent, *children(parent)], signal.SIGKILL)


class PauseAgent(_OnAgent):
    """SIGSTOP of an agent with all that it runs, for longer than its lease; then SIGCONT."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        super().__init__(scratch, pick)
        self._stopped: list[int] = []
        self._until = 0.0

    def inject(self) -> None:
        """Stop them."""
        self._stopped = _family(self._parent())
        _send(self._stopped, signal.SIGSTOP)
        self._until = time.monotonic() + PAST_LEASE_S

    def heal(self) -> None:
        """Let them go on, once the lease is over."""
        time.sleep(max(0.0, self._until - time.monotonic()))
        _send(self._stopped, signal.SIGCONT)
        super().heal()


class RollingRestart:
    """An orderly restart of every process of Loom's own, one after another."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._names = [name for kind in ROLLED for name in scratch.fleet.names(kind)]
        pick.shuffle(self._names)

    def inject(self) -> None:
        """Restart them."""
        for name in self._names:
            self._scratch.keeper.restart(name)
            self._scratch.keeper.await_up(name)

    def heal(self) -> None:
        """All of them run."""
        for name in self._names:
            self._scratch.keeper.release(name)


class KillPrimary:
    """kill -9 of PostgreSQL's primary; it recovers and goes on."""

    def __init__(self, scratch: Scratch, _pick: Random) -> None:
        self._scratch = scratch

    def inject(self) -> None:
        """Kill it."""
        self._scratch.keeper.send(self._scratch.ledger.primary, signal.SIGKILL)

    def heal(self) -> None:
        """It comes back by itself."""
        self._scratch.keeper.await_up(self._scratch.ledger.primary)


class KillStandby(KillPrimary):
    """kill -9 of the standby; no commit is answered until it is back."""

    def inject(self) -> None:
        """Kill it."""
        self._scratch.keeper.send(self._scratch.ledger.standby, signal.SIGKILL)


class PromoteStandby:
    """The primary is killed for good and the standby takes its place; then the old one follows."""

    def __init__(self, scratch: Scratch, _pick: Random) -> None:
        self._scratch = scratch
        self._promoted = False

    def inject(self) -> None:
        """Kill the primary, and promote."""
        self._scratch.keeper.hold(self._scratch.ledger.primary)
        self._scratch.promote()
        self._promoted = True

    def heal(self) -> None:
        """Make the old primary the standby; without a promotion it is the primary again."""
        ledger = self._scratch.ledger
        if self._promoted:
            ledger.rejoin()
        else:
            self._scratch.keeper.release(ledger.primary)


def _family(pid: int) -> list[int]:
    """The process and all that stems from it."""
    return [pid, *(member for child in children(pid) for member in _family(child))]


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
