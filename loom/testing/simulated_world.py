"""What all parts of a simulation share: one seed, one clock, one record of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from loom.testing.simulated_broker import SimulatedBroker
from loom.testing.simulated_faults import Crash, Faults
from loom.testing.simulated_repository import Repository
from loom.testing.watched_ledger import WatchedLedger


@dataclass(slots=True)
class World:
    """The parts that a run is about, and what is written down of it. faulty: until it is healed."""

    random: Random
    faults: Faults
    broker: SimulatedBroker
    ledger: WatchedLedger
    repository: Repository
    clock: float = 0.0
    faulty: bool = True
    numbers: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    crashes: Counter[str] = field(default_factory=Counter)

    def crasher(self, process: str) -> Callable[[str], None]:
        """What a seam of the process calls: it may raise Crash."""

        def crash(where: str) -> None:
            if self.random.random() < self.faults.crash:
                self.crashes[f"{process} {where}"] += 1
                raise Crash(where)

        return crash

    def number(self, kind: str) -> int:
        """The next number of that kind, from 1."""
        self.numbers[kind] += 1
        return self.numbers[kind]

    def say(self, who: str, what: str) -> None:
        """Write a line of the run."""
        self.trace.append(f"{self.clock:.1f} {who}: {what}")
