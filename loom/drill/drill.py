"""The drill itself: load, one fault after another, and the verdict."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loom.drill import controls
from loom.drill.accountant import Accountant
from loom.drill.book import Book
from loom.drill.controls import Tried
from loom.drill.effects import Effects
from loom.drill.fault import Make, Scene
from loom.drill.load import Load
from loom.drill.report import ClassFigures, Report
from loom.drill.schedule import Turn, plan
from loom.drill.site import Site
from loom.errors import LoomError

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard the drill is on its site; times in seconds.

    recover_s: until beads have to be done again after a fault. settle_s: for how long nothing has
    to move before what is not done is lost. patience_s: for the whole of the end.
    """

    per_second: float = 2.0
    outstanding: int = 12
    recover_s: float = 120.0
    settle_s: float = 45.0
    patience_s: float = 300.0


SHORT = Pace(per_second=2.0, outstanding=6, recover_s=60.0, settle_s=15.0, patience_s=90.0)
"""For a site of one of each part."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is drilled. minutes: no fault begins after that; 0 for no limit."""

    seed: int
    faults: int
    classes: Mapping[str, Make]
    minutes: float = 0.0
    pace: Pace = Pace()


def run(site: Site, name: str, wish: Wish, record: Path, tell: Tell) -> Report:
    """Drill a site that is up. record: where the accountant writes. tell: progress, a line each."""
    began = time.monotonic()
    effects = Effects(site.effects)
    effects.lay_out()
    book = Book(record)
    pace = wish.pace
    load = Load(
        site, book, effects, wish.seed, per_second=pace.per_second, outstanding=pace.outstanding
    )
    accountant = Accountant(site, book, effects)
    figures: dict[str, ClassFigures] = {name: ClassFigures() for name in sorted(wish.classes)}
    survivors: dict[int, str] = {}
    try:
        first = load.probe(pace.recover_s)
        tell(f"the site takes beads: the first was done after {first or 0:.1f} s")
        load.start()
        for turn in plan(wish.seed, wish.faults, list(wish.classes)):
            if wish.minutes and time.monotonic() - began > wish.minutes * 60:
                tell(f"{wish.minutes:g} minutes are over after {turn.number - 1} faults")
                break
            if _take(turn, Scene(site, book, load, _pick(wish.seed, turn)), wish, figures, tell):
                survivors[turn.number] = turn.fault
        load.stop()
        tell("no more load; waiting for quiet")
        verdict = accountant.judge(pace.settle_s, pace.patience_s, tell)
    finally:
        load.stop()
        load.close()
        accountant.close()
        book.close()
    for number, fault in survivors.items():
        if number not in verdict.during:
            figures[fault].survived += 1
    return Report(wish.seed, verdict, figures, time.monotonic() - began, name)


def run_controls(
    site: Site, seed: int, record: Path, tell: Tell, guards: Sequence[str] = ()
) -> list[Tried]:
    """Try the negative controls on a site that is up; all, or those of the guards named."""
    effects = Effects(site.effects)
    effects.lay_out()
    book = Book(record)
    load = Load(site, book, effects, seed, per_second=1.0, outstanding=1)
    accountant = Accountant(site, book, effects)
    try:
        load.probe(SHORT.recover_s)
        pick = random.Random(seed)  # noqa: S311 - has to be repeatable
        return controls.run(Scene(site, book, load, pick), accountant, tell, guards)
    finally:
        load.close()
        accountant.close()
        book.close()


def _pick(seed: int, turn: Turn) -> random.Random:
    return random.Random(f"fault {seed} {turn.number}")  # noqa: S311 - has to be repeatable


def _take(
    turn: Turn, scene: Scene, wish: Wish, figures: Mapping[str, ClassFigures], tell: Tell
) -> bool:
    """One turn: calm, fault, hold, heal, and beads done again; whether they were."""
    mine = figures[turn.fault]
    _wait(turn.calm_s)
    scene.load.during = turn.number
    tell(f"{turn.number:3} {turn.fault}")
    fault = wish.classes[turn.fault](scene)
    mine.injected += 1
    try:
        try:
            fault.inject()
            if not getattr(fault, "instant", False):
                _wait(turn.hold_s)
        finally:
            healed = time.monotonic()
            fault.heal()
        done = scene.load.probe(wish.pace.recover_s)
        recovered_s = time.monotonic() - healed
        scene.site.healthy(wish.pace.recover_s)
    except (LoomError, OSError, subprocess.SubprocessError) as error:
        mine.troubles.append(f"turn {turn.number}: {str(error)[:500]}")
        tell(f"    trouble: {str(error)[:300]}")
        return False
    if done is None:
        mine.troubles.append(f"turn {turn.number}: no bead was done in {wish.pace.recover_s:g} s")
        tell(f"    no bead was done within {wish.pace.recover_s:g} s")
        return False
    mine.recovery_s.append(recovered_s)
    tell(f"    beads are done again {recovered_s:.1f} s after it was healed")
    return True


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
