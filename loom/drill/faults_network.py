"""Faults on the way between services: stalled, reset, and answers that never arrive."""

from __future__ import annotations

from random import Random

from loom.drill.fleet import AGENT, ON_BROKER
from loom.drill.proxy import Mode
from loom.drill.scratch import Scratch


class _OnWays:
    """Proxies that go over to a mode and back."""

    mode: Mode
    kinds: tuple[str, ...]

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._names = self._choose(pick)

    def _choose(self, pick: Random) -> list[str]:
        """The ways of one process of these kinds."""
        kind = pick.choice(self.kinds)
        return self._scratch.fleet.ways(pick.choice(self._scratch.fleet.names(kind)))

    def inject(self) -> None:
        """Switch over."""
        self._scratch.proxies.switch(self._names, self.mode)

    def heal(self) -> None:
        """Switch back."""
        self._scratch.proxies.switch(self._names, Mode.PASS)


class PartAgent(_OnWays):
    """One agent's packets to and from the broker vanish; it still reaches the ledger."""

    mode = Mode.STALL
    kinds = (AGENT,)


class StallBroker(_OnWays):
    """Nothing moves between one service and the broker, and nothing is cut."""

    mode = Mode.STALL
    kinds = ON_BROKER


class ResetBroker(_OnWays):
    """Every connection of one service to the broker is reset, new ones included."""

    mode = Mode.RESET
    kinds = ON_BROKER


class DropConfirms(_OnWays):
    """The broker takes what a publisher sends, and its confirms never arrive."""

    mode = Mode.DROP_TO_CLIENT
    kinds = ("dispatcher", AGENT)


class StallLedger(_OnWays):
    """Nothing moves between one database service and PostgreSQL, and nothing is cut."""

    mode = Mode.STALL
    kinds = ("database",)


class ResetLedger(_OnWays):
    """Every connection of one database service to PostgreSQL is reset, new ones included."""

    mode = Mode.RESET
    kinds = ("database",)
