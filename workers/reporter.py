"""The process that tells the ledger of its agent: registers, reports, and hands wishes back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from loom.domain.presence import AgentWish, Registration, Report, RunningBead
from loom.errors import LoomError, NotFound
from loom.telemetry import logs
from workers.presence import listen

SOONEST_S = 0.5
"""Between two reports, however much changes."""

log = logs.get(__name__)


class Ledger(Protocol):
    """What the reporter asks the database service."""

    def register_agent(self, told: Registration) -> AgentWish:
        """Say what the agent is."""

    def report_agent(self, told: Report) -> AgentWish:
        """Say what the agent does."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agent works, and how often it reports. find: its tools, which may take a while."""

    workspace: Path
    every_s: float
    find: Callable[[], Mapping[str, str]]


class Reporter:
    """Reports for as long as its parent is there."""

    def __init__(self, ledger: Ledger, told: Registration, place: Place) -> None:
        self._ledger = ledger
        self._told = told
        self._place = place
        self._soonest_s = min(SOONEST_S, place.every_s)
        self._tools: Mapping[str, str] | None = None
        self._known = False
        self._asked = 0
        self._quiet = ""

    def run(self, parent: socket.socket, pid: int) -> None:
        """Report until the parent says goodbye or is gone. pid: the parent's."""
        wish = self._ask(self._register)
        self._answer(parent, wish)
        threading.Thread(target=self._find, name="tools", daemon=True).start()
        latest: dict[str, Any] | None = None
        said: dict[str, Any] | None = None
        reported_at = time.monotonic()
        while True:
            now = time.monotonic()
            due_s = self._place.every_s
            if latest is not None:
                due_s = reported_at + (due_s if latest == said else self._soonest_s) - now
            heard, there = listen(parent, max(0.0, due_s))
            if heard is not None:
                latest = heard
            if os.getppid() != pid:
                return
            if latest is not None and latest["goodbye"]:
                self._ask(lambda latest=latest: self._report(latest))  # type: ignore[misc]
                return
            if not there:
                return
            now = time.monotonic()
            if latest is None or now < reported_at + self._soonest_s:
                continue
            if latest == said and now < reported_at + self._place.every_s:
                continue
            said, reported_at = latest, now
            wish = self._ask(lambda said=said: self._report(said))  # type: ignore[misc]
            self._answer(parent, wish)

    def _answer(self, parent: socket.socket, wish: AgentWish | None) -> None:
        # A parent that is cut off from its broker may not listen for long, and misses nothing.
        with suppress(OSError):
            parent.send(json.dumps([wish, self._asked]).encode(), socket.MSG_DONTWAIT)

    def _ask(self, call: Callable[[], AgentWish]) -> AgentWish | None:
        """The wish that a call answers; None, and a line in the log, if it fails."""
        try:
            wish = call()
        except LoomError as error:
            if error.code != self._quiet:
                log.warning("presence_not_told", code=error.code, why=error.detail)
            self._quiet = error.code
            return None
        if self._quiet:
            log.info("presence_told_again")
        self._quiet = ""
        return wish

    def _register(self) -> AgentWish:
        wish = self._ledger.register_agent(self._told)
        self._known = True
        return wish

    def _report(self, said: dict[str, Any]) -> AgentWish:
        if self._tools is not None:
            self._told = replace(self._told, tools=self._tools)
            self._tools, self._known = None, False
        if not self._known:
            self._register()
        number, asks = said["asks"] or (0, None)
        report = Report(
            name=self._told.name,
            instance=self._told.instance,
            concurrency=said["concurrency"],
            running=tuple(RunningBead(bead_id, epoch) for bead_id, epoch in said["running"]),
            consuming=said["consuming"],
            load=round(os.getloadavg()[0], 2),
            disk_free=self._disk_free(),
            asks=AgentWish(asks) if asks and number > self._asked else None,
            goodbye=said["goodbye"],
        )
        try:
            wish = self._ledger.report_agent(report)
        except NotFound:
            # It was forgotten, or the ledger is another one.
            self._register()
            wish = self._ledger.report_agent(report)
        self._asked = max(number, self._asked)
        return wish

    def _disk_free(self) -> int:
        # The folder is made by the first attempt.
        for folder in (self._place.workspace, *self._place.workspace.parents):
            with suppress(OSError):
                return shutil.disk_usage(folder).free
        return 0

    def _find(self) -> None:
        self._tools = self._place.find()
