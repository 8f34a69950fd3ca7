"""Named places where a drill makes a process die or stop, and guards that it may switch off.

Global state: `arm` reads the drill's settings once a process, before it forks. A process that was
never armed pays one look into an empty dict for each place.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from dataclasses import dataclass
from typing import Any

from loom.errors import Invalid
from loom.settings import DrillSettings
from loom.telemetry import logs

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}
"""What a place can do to its own process."""

GUARDS = frozenset({"mandatory", "tag_counting", "fence", "inbox", "ack_order", "idempotency"})
"""What can be switched off, to show that a drill would notice its absence."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Armed:
    """What happens at a place. at: the how-manieth time, counted over all forks of the process."""

    action: str
    at: int
    count: Any


_armed: dict[str, Armed] = {}
_off: set[str] = set()


def arm(settings: DrillSettings) -> None:
    """Take over what the drill wants of this process; raises Invalid for what cannot be.

    Anywhere but on a scratch stack it is refused: a service then does not start at all.
    """
    _armed.clear()
    _off.clear()
    if not settings.failpoints and not settings.unguarded:
        return
    if not settings.scratch:
        raise Invalid(
            "LOOM_DRILL_FAILPOINTS or LOOM_DRILL_UNGUARDED is set, and LOOM_DRILL_SCRATCH is not: "
            "this stack may hold somebody's work. Remove them"
        )
    _armed.update(parse(settings.failpoints))
    wanted = {name.strip() for name in settings.unguarded.split(",") if name.strip()}
    if unknown := wanted - GUARDS:
        raise Invalid(f"no guard is called {sorted(unknown)}; there are {sorted(GUARDS)}")
    _off.update(wanted)
    if _armed:
        log.warning("failpoints_armed", failpoints=settings.failpoints)
    if _off:
        log.critical(
            "guards_are_off",
            guards=sorted(_off),
            why="a drill checks that it notices their absence: beads may be lost or doubled here",
        )


def parse(text: str) -> dict[str, Armed]:
    """The places in `place=action@n,…`; raises Invalid."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        place, _, what = part.partition("=")
        action, _, nth = what.partition("@")
        if not place or action not in SIGNALS or not (nth or "1").isdecimal():
            raise Invalid(f"{part!r} is no failpoint: write it as ingester.recorded=kill@3")
        # In memory that forks share: a pool process that died leaves its count to the next.
        count = multiprocessing.get_context("fork").Value(ctypes.c_long, 0)
        found[place] = Armed(action, int(nth or 1), count)
    return found


def failpoint(place: str) -> None:
    """Nothing, unless a drill has armed this place: then the process may end here."""
    if not _armed or place not in _armed:
        return
    armed = _armed[place]
    with armed.count.get_lock():
        armed.count.value += 1
        now = armed.count.value == armed.at
    if now:
        log.warning("failpoint_reached", place=place, action=armed.action)
        os.kill(os.getpid(), SIGNALS[armed.action])


def unguarded(guard: str) -> bool:
    """Whether a drill has switched this guard off."""
    return guard in _off
