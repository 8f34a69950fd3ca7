"""Faults inside of a service: it kills itself at a named place, between two of its steps."""

from __future__ import annotations

import time

from loom.drill.fault import Make, Scene
from loom.drill.site import named
from loom.errors import DeadlineExceeded, Unavailable

PLACES: dict[str, str] = {
    "control.filed": "control",
    "database.claimed": "database",
    "database.mid_batch": "database",
    "dispatcher.leased": "dispatcher",
    "dispatcher.published": "dispatcher",
    "ingester.taken": "ingester",
    "ingester.recorded": "ingester",
    "engine.expired": "engine",
    "agent.claimed": "agent",
    "agent.worked": "agent",
    "agent.reported": "agent",
}
"""Every place that any bead passes, and whose it is."""

REACH_S = 30.0
REACHED = b'"failpoint_reached"'
LOOK_S = 0.1


class Place:
    """One process of a kind kills itself the first to third time that it comes by a place."""

    instant = True

    def __init__(self, scene: Scene, place: str) -> None:
        self._scene, self._place = scene, place
        self._process = ""
        self._before = 0

    def inject(self) -> None:
        """Arm it, and wait until it has killed itself; raises DeadlineExceeded if it does not.

        Raises Unavailable if there is no such process now.
        """
        site, kind = self._scene.site, PLACES[self._place]
        names = named(site, kind)
        if not names:
            raise Unavailable(f"the site has no {kind} now")
        self._process = self._scene.pick.choice(names)
        before = self._reached()
        times = self._scene.pick.randint(1, 3)
        site.arm(self._process, {"LOOM_DRILL_FAILPOINTS": f"{self._place}=kill@{times}"})
        deadline = time.monotonic() + REACH_S
        while self._reached() <= before:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{self._process} never came by {self._place}")
            time.sleep(LOOK_S)

    def heal(self) -> None:
        """It comes back by itself, without the place armed."""

    def _reached(self) -> int:
        log = self._scene.site.log(self._process)
        return log.read_bytes().count(REACHED) if log.exists() else 0


def at(place: str) -> Make:
    """The class of faults at that place."""
    return lambda scene: Place(scene, place)
