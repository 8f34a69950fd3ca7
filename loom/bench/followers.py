"""What followers of live pages and logs cost the others: the same requests without them."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

from loom.bench.audience import audience
from loom.bench.costs import Meter, spent
from loom.bench.figures import told
from loom.bench.load import KINDS, Answers, Load
from loom.bench.readers import Wish
from loom.clients.control import ControlClient
from loom.domain.bead import NewBead
from loom.domain.project import MAX_TIMEOUT_S
from loom.drill.site import Site
from loom.errors import DeadlineExceeded

Tell = Callable[[str], None]

ALONE, FOLLOWED, STALLED, POLLED = "alone", "followed", "stalled", "polled"
PROCESSES = ("control", "database")
STALLED_READERS = 5
LINES_A_SECOND = 20
READY_S, SETTLE_S = 60.0, 2.0
WRITER = """\
import sys, time
number, due = 0, time.monotonic()
while True:
    number += 1
    print(number, time.time_ns(), "collecting the parts of a wheel " + "." * 40, flush=True)
    due += 1 / float(sys.argv[1])
    time.sleep(max(0.0, due - time.monotonic()))
"""
"""A command that writes as a build does; its lines are numbered and dated."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured. seconds: of each phase. rounds: how often each comes. crowds: how many
    ask to follow at once, when more do than there are places for.
    """

    followers: int = 50
    rounds: int = 8
    seconds: float = 5.0
    per_second: float = 30.0
    crowds: tuple[int, ...] = (200, 500)


@dataclass(slots=True)
class Phase:
    """What came of one phase, all its rounds together."""

    answers: list[Answers] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    saw: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The figures: of all rounds together, of each, and the medians of these, which a moment
        when the machine had something else to do leaves as they are.
        """
        times = [each for answers in self.answers for each in answers.all_ms()]
        errors = [error for answers in self.answers for error in answers.errors]
        of_kind = {
            kind: told(each for answers in self.answers for each in answers.times_ms[kind])
            for kind in KINDS
        }
        rounds = [told(answers.all_ms()) for answers in self.answers]
        middle = {
            key: round(median(each[key] for each in rounds if key in each), 1)
            for key in ("p50", "p95", "p99")
        }
        return {
            "requests_ms": told(times),
            "middle_round_ms": middle,
            "by_kind_ms": of_kind,
            "errors": len(errors),
            "errors_said": sorted(set(errors)),
            "readers": _together(self.saw),
            "rounds": [
                {"requests_ms": times, **costs}
                for times, costs in zip(rounds, self.costs, strict=True)
            ],
        }


def run(site: Site, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure a stack that is up; the figures."""
    with ControlClient(site.urls[0], site.token) as client:
        bead_id = _write(client, site.project)
        headers = client.headers()
    wish = Wish(site.urls[0], site.token, bead_id)
    half = plan.followers // 2
    live = replace(wish, pages=half, logs=plan.followers - half)
    wishes = {
        ALONE: wish,
        FOLLOWED: live,
        STALLED: replace(live, stalled=STALLED_READERS),
        POLLED: replace(wish, pollers=plan.followers),
    }
    phases = {name: Phase() for name in wishes}
    crowds = {count: Phase() for count in plan.crowds}
    load = Load(site.urls[0], headers, site.project, bead_id, plan.per_second)
    meter = Meter(site, PROCESSES)
    try:
        tell(f"{bead_id} writes {LINES_A_SECOND} lines a second")
        load.run(SETTLE_S)
        for number in range(plan.rounds):
            order = list(wishes)
            # Each comes first, second, ... as often: what warms up or fills up harms none alone.
            for name in order[number % len(order) :] + order[: number % len(order)]:
                _measure(phases[name], wishes[name], load, meter, plan.seconds)
                _tell_of(tell, f"round {number + 1}, {name}", phases[name])
        for count, phase in crowds.items():
            _measure(phase, replace(wish, crowd=count), load, meter, plan.seconds)
            _tell_of(tell, f"{count} ask to follow", phase)
    finally:
        meter.close()
    found = {name: phase.as_json() for name, phase in phases.items()}
    return {
        "followers": plan.followers,
        "requests_per_second": plan.per_second,
        "lines_per_second": LINES_A_SECOND,
        "seconds_per_phase": plan.seconds,
        "rounds": plan.rounds,
        "machine": {
            "cores": os.cpu_count(),
            "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "phases": found,
        "crowds": {str(count): phase.as_json() for count, phase in crowds.items()},
        "per_follower": _per_follower(found, plan.followers),
    }


def _write(client: ControlClient, project: str) -> str:
    """File the bead whose log is followed, and wait until it writes; its id."""
    command = [sys.executable, "-c", WRITER, str(LINES_A_SECOND)]
    context = {"test_command": command, "timeout_s": MAX_TIMEOUT_S}
    bead = client.create_bead(project, NewBead("Write a long log", context=context))
    deadline = time.monotonic() + READY_S
    while not any(placed.line.kind.value == "out" for placed in client.read_log(bead.id).lines):
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"{bead.id} has written nothing within {READY_S:g} s")
        threading.Event().wait(0.2)
    return bead.id


def _measure(phase: Phase, wish: Wish, load: Load, meter: Meter, seconds: float) -> None:
    with audience(wish) as readers:
        load.run(SETTLE_S)
        readers.begin()
        before = meter.read()
        answers = load.run(seconds)
        after = meter.read()
        phase.saw.append(readers.end())
    phase.answers.append(answers)
    phase.costs.append(spent(before, after))


def _together(saw: list[dict[str, Any]]) -> dict[str, Any]:
    """What the readers of all rounds saw."""
    found: dict[str, Any] = {}
    for name in saw[0]:
        values = [each[name] for each in saw]
        if isinstance(values[0], list):
            found[name] = told(each for value in values for each in value)
        elif isinstance(values[0], dict):
            keys = {key for value in values for key in value}
            found[name] = {key: sum(v.get(key, 0) for v in values) for key in sorted(keys)}
        else:
            found[name] = sum(values)
    return found


def _per_follower(found: dict[str, Any], followers: int) -> dict[str, dict[str, float]]:
    """What each follower and each poller adds: the median of the rounds' differences."""
    added = {}
    for name in (FOLLOWED, POLLED):
        pairs = list(zip(found[ALONE]["rounds"], found[name]["rounds"], strict=True))

        def middle(of: Callable[[dict[str, Any]], float], pairs: Any = pairs) -> float:
            return median(of(with_them) - of(alone) for alone, with_them in pairs) / followers

        added[name] = {
            "control_cpu_ms_per_s": round(middle(lambda r: r["cpu_s_per_s"]["control"]) * 1e3, 2),
            "database_cpu_ms_per_s": round(middle(lambda r: r["cpu_s_per_s"]["database"]) * 1e3, 2),
            "transactions_per_s": round(middle(lambda r: r["transactions_per_s"]), 2),
            "control_rss_kb": round(middle(lambda r: r["rss_mb"]["control"]) * 1024),
            "ledger_connections": round(middle(lambda r: r["ledger_connections"]), 2),
            "broker_connections": round(middle(lambda r: r["broker_connections"]), 2),
        }
    return added


def _tell_of(tell: Tell, name: str, phase: Phase) -> None:
    figures, costs = told(phase.answers[-1].all_ms()), phase.costs[-1]
    tell(
        f"{name}: p50 {figures.get('p50')} p95 {figures.get('p95')} p99 {figures.get('p99')} ms, "
        f"{len(phase.answers[-1].errors)} errors, control plane {costs['cpu_s_per_s']['control']} "
        f"CPU s/s, {costs['transactions_per_s']} transactions/s, load {costs['load_average']}"
    )
