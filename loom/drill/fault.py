"""A fault: something that goes wrong for a while, and is then put right."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from loom.drill.book import Book
from loom.drill.load import Load
from loom.drill.site import Site, kind_of


class Fault(Protocol):
    """One fault, made for one turn of the schedule.

    Where it has an attribute `instant` that is true, it is over as soon as it is injected.
    """

    def inject(self) -> None:
        """Let it go wrong."""

    def heal(self) -> None:
        """Put right what does not come back by itself."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault has to work with. pick: seeded by its turn."""

    site: Site
    book: Book
    load: Load
    pick: random.Random


Make = Callable[[Scene], Fault]


class Kill:
    """kill -9 of one process of a kind, chosen by the seed; its keeper starts it again."""

    instant = True

    def __init__(self, scene: Scene, kind: str) -> None:
        self._scene, self._kind = scene, kind

    def inject(self) -> None:
        """Kill it now."""
        up = self._scene.site.processes()
        names = sorted(n for n in up if kind_of(n) == self._kind and "/" not in n)
        if names:
            with suppress(ProcessLookupError):
                os.kill(up[self._scene.pick.choice(names)], signal.SIGKILL)

    def heal(self) -> None:
        """It comes back by itself."""


def kills(kind: str) -> Make:
    """The class of faults that kills one process of that kind."""
    return lambda scene: Kill(scene, kind)
