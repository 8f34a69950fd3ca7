"""Faults of the machine under a process: a full disk, a clock that is off by an hour."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

from loom.drill.cluster import NODES
from loom.drill.fleet import AGENT, KINDS
from loom.drill.scratch import Scratch
from loom.errors import Unavailable
from loom.stack import render

NOTICED_S, LOOK_S = 15.0, 0.2
PIECES = 16
"""More than PostgreSQL keeps in store (min_wal_size, 32 MB in pieces of 16)."""
SLEEP = Path(__file__).with_name("clock")
"""A folder for PYTHONPATH, with which time.sleep works in a process whose clock is off."""


def why_no_volumes(scratch: Scratch) -> str:
    """Why no volume can be filled here; empty when one can."""
    return scratch.volumes.why_not


def faketime() -> Path | None:
    """The library of Debian's package libfaketime, for programs with threads."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def why_no_clock(_scratch: Scratch) -> str:
    """Why no process can have a clock of its own here; empty when one can.

    A time namespace moves the monotonic clock alone (time_namespaces(7)), so it takes a library.
    """
    return "" if faketime() else "no libfaketime: `apt-get install libfaketime`"


class _FullVolume:
    """A volume without a free byte."""

    def __init__(self, scratch: Scratch, pick: Random) -> None:
        self._scratch = scratch
        self._folder = self._choose(pick)

    def _choose(self, pick: Random) -> Path:
        raise NotImplementedError

    def inject(self) -> None:
        """Fill it."""
        self._scratch.volumes.fill(self._folder)

    def heal(self) -> None:
        """Give the room back; what ended for want of it is started again by its keeper."""
        self._scratch.volumes.relieve(self._folder)


class FullBroker(_FullVolume):
    """The volume of one broker node is full."""

    def _choose(self, pick: Random) -> Path:
        self._node = pick.choice(NODES)
        return self._scratch.cluster.volume(self._node)

    def inject(self) -> None:
        """Fill it, and wait until the node has seen it or ended: it looks every ten seconds."""
        super().inject()
        deadline = time.monotonic() + NOTICED_S
        seen = {f"{self._node}: disk"}
        while time.monotonic() < deadline and not seen & set(self._scratch.cluster.alarms()):
            time.sleep(LOOK_S)


class FullDatabase(_FullVolume):
    """The volume of PostgreSQL's primary is full: it ends at the next piece of its log, and
    cannot come back before there is room."""

    def _choose(self, _pick: Random) -> Path:
        return self._scratch.ledger.volume(self._scratch.ledger.primary)

    def inject(self) -> None:
        """Fill it, and use up the pieces of the log that were made in advance."""
        super().inject()
        ledger = self._scratch.ledger
        with suppress(Unavailable):
            for _piece in range(PIECES):
                ledger.ask(ledger.primary, "SELECT pg_logical_emit_message(true, 'drill', '')")
                ledger.ask(ledger.primary, "SELECT pg_switch_wal()")


class FullWorkspace(_FullVolume):
    """The volume of the agents' workspaces is full."""

    def _choose(self, _pick: Random) -> Path:
        return self._scratch.home.workspaces


class Clock:
    """One process of Loom's own runs with a clock that is off by so many seconds."""

    def __init__(self, scratch: Scratch, pick: Random, offset: str) -> None:
        self._scratch = scratch
        self.process = pick.choice(scratch.fleet.names(pick.choice((*KINDS, AGENT))))
        self._offset = offset

    def inject(self) -> None:
        """Start it anew with that clock; the monotonic one stays right, as after a bad NTP step."""
        plain = self._scratch.fleet.program(self.process)
        off = {
            "LD_PRELOAD": str(faketime()),
            "FAKETIME": self._offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "PYTHONPATH": os.pathsep.join((str(SLEEP), str(render.ROOT))),
        }
        # By env and not by the environment: what changes the user first has the right clock, and
        # would leave the library's semaphore to a user who may not open it.
        argv = ["/usr/bin/env", *(f"{key}={value}" for key, value in off.items()), *plain.argv]
        keeper = self._scratch.keeper
        keeper.replace(replace(plain, argv=argv))
        keeper.restart(self.process)
        keeper.await_up(self.process)

    def heal(self) -> None:
        """Start it anew with the right one."""
        keeper = self._scratch.keeper
        keeper.replace(self._scratch.fleet.program(self.process))
        keeper.restart(self.process)
        keeper.await_up(self.process)
