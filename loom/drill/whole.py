"""The whole site: three brokers, two databases, two of each service, several agents."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loom.drill.classes import MESSAGES, PLACES
from loom.drill.fault import Fault, Make, Scene
from loom.drill.faults import FAULTS, FaultClass, Injector
from loom.drill.fleet import KINDS
from loom.drill.scratch import PROJECT, Scratch
from loom.drill.small import times_armed
from loom.errors import DeadlineExceeded
from loom.settings import BrokerSettings, LedgerClientSettings
from loom.stack import credentials

ARM_S = 60.0
LOOK_S = 0.1
INSTANT = frozenset(
    {
        *(f"kill-{kind}" for kind in (*KINDS, "pgbouncer", "primary", "standby")),
        "kill-agent-parent",
        "kill-agent-child",
        "kill-agent-both",
    }
)
"""Faults that end by themselves: what was killed is started again at once."""


class Whole:
    """A scratch stack as the drill sees it."""

    project = PROJECT

    def __init__(self, home: Path, base: int = 0) -> None:
        self.scratch = Scratch(home, base)

    def start(self) -> None:
        """Bring all of it up, and wait until it is healthy."""
        self.scratch.start()
        self.effects.mkdir(exist_ok=True)
        self.effects.chmod(0o755)

    def stop(self) -> None:
        """End every process."""
        self.scratch.stop()

    def processes(self) -> Mapping[str, int]:
        """The name and pid of every process that runs now."""
        return self.scratch.processes()

    @property
    def urls(self) -> Sequence[str]:
        """Each control plane."""
        return self.scratch.urls

    @property
    def token(self) -> str:
        """The token of the API."""
        return self.scratch.token

    @property
    def management_url(self) -> str:
        """RabbitMQ's management on the first node."""
        return self.scratch.management_url

    @property
    def repository(self) -> Path:
        """The project's bare repository."""
        return self.scratch.repository

    @property
    def effects(self) -> Path:
        """The folder of the accountant's counter."""
        return self.scratch.home.path / "effects"

    def broker_settings(self) -> BrokerSettings:
        """The broker as its operator."""
        return self.scratch.broker_settings()

    def ledger_settings(self) -> LedgerClientSettings:
        """The database services as their operator."""
        token = self.scratch.home.secret(credentials.ledger("operator"))
        return LedgerClientSettings(target=self.scratch.fleet.target, token=token)

    def healthy(self, timeout_s: float) -> float:
        """Wait until all is well; seconds taken. Raises DeadlineExceeded naming what is not."""
        return self.scratch.healthy(timeout_s)

    def log(self, process: str) -> Path:
        """The log of the process."""
        return self.scratch.home.log(process)

    def arm(self, process: str, variables: Mapping[str, str], *, lasting: bool = False) -> None:
        """Start the process anew with these LOOM_DRILL_* variables; returns when it has them."""
        keeper = self.scratch.keeper
        plain = self.scratch.fleet.program(process)
        more = {"LOOM_DRILL_SCRATCH": "1", **variables} if variables else {}
        before = times_armed(self.log(process))
        keeper.replace(replace(plain, environment={**plain.environment, **more}))
        keeper.restart(process)
        keeper.await_up(process)
        deadline = time.monotonic() + ARM_S
        while any("DRILL" in key for key in variables) and times_armed(self.log(process)) <= before:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{process} does not start; its log is {self.log(process)}")
            time.sleep(LOOK_S)
        if not lasting:
            keeper.replace(plain)


class OnScratch:
    """A fault of the scratch stack's. instant: over once injected, so that its recovery counts
    from there."""

    def __init__(self, fault: Injector, *, instant: bool) -> None:
        self.instant = instant
        self._fault = fault

    def inject(self) -> None:
        """Let it go wrong."""
        self._fault.inject()

    def heal(self) -> None:
        """Put it right."""
        self._fault.heal()


def _on(scratch: Scratch, name: str, fault: FaultClass) -> Make:
    def make(scene: Scene) -> Fault:
        pick = random.Random(scene.pick.random())  # noqa: S311 - has to be repeatable
        return OnScratch(fault.make(scratch, pick), instant=name in INSTANT)

    return make


def classes(site: Whole) -> tuple[dict[str, Make], dict[str, str]]:
    """Every fault class that can be had on the site, and why each other one cannot."""
    missing = {name: why for name, f in FAULTS.items() if (why := f.why_not(site.scratch))}
    there = {name: _on(site.scratch, name, f) for name, f in FAULTS.items() if name not in missing}
    return {**MESSAGES, **PLACES, **there}, missing
