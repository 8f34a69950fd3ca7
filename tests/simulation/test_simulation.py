"""The trip under a virtual clock: whatever a seed brings, nothing is lost and nothing is doubled.

LOOM_SIMULATION_RUNS makes it longer: so many seeds instead of the suite's.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom.testing.simulated_faults import Faults, Guards
from loom.testing.simulation import Simulation

RUNS = int(os.environ.get("LOOM_SIMULATION_RUNS", "60"))
CONTROL_RUNS = 300
"""Seeds within which the lack of a guard has to be noticed."""

SEEDS = st.integers(0, 2**32 - 1)
CHANCES = st.floats(0, 0.2)
FAULTS = st.builds(
    Faults, crash=CHANCES, pause=CHANCES, lose=st.floats(0, 0.1), duplicate=CHANCES, cut=CHANCES,
    away=st.floats(0, 0.1),
)  # fmt: skip
ZOMBIES = Faults(pause=0.3, cut=0.4, crash=0, lose=0, duplicate=0, away=0)


@settings(max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS, faults=FAULTS)
def test_every_bead_ends_once_whatever_fails_on_its_way(seed: int, faults: Faults) -> None:
    run = Simulation(seed, faults=faults).run()
    assert run.violations == [], "\n".join(run.trace)


def test_one_seed_gives_one_run() -> None:
    for seed in range(10):
        first, second = Simulation(seed).run(), Simulation(seed).run()
        assert first.trace == second.trace
        assert first.crashes == second.crashes
    assert Simulation(1).run().trace != Simulation(2).run().trace


def test_processes_crash_at_each_of_their_steps_and_the_broker_does_all_it_should_not() -> None:
    crashes, broker = Counter[str](), Counter[str]()
    for seed in range(40):
        run = Simulation(seed, faults=Faults(crash=0.1)).run()
        assert run.violations == [], seed
        crashes += run.crashes
        broker += run.world.broker.counts
    steps = {
        *(f"dispatcher {when} {call}" for when in ("before", "after")
          for call in ("lease_outbox", "publish", "settle_outbox")),
        *(f"ingester {where}" for where in
          ("before record_results", "after record_results", "before ack")),
        *(f"agent after {step}" for step in
          ("delivered", "claimed", "working", "told", "fenced", "pushed", "reported", "acked")),
    }  # fmt: skip
    assert steps <= set(crashes)
    assert {"lost", "duplicated", "reordered", "redelivered"} <= set(broker)


def test_agents_that_crash_again_and_again_make_no_endless_loop() -> None:
    """The bound on attempts is the ledger's own, and what it gives up it blocks with a reason."""
    run = Simulation(3, beads=2, steps=6000, faults=Faults(crash=0.5, lose=0, away=0)).run()
    assert run.violations == []
    before = run.trace[: run.trace.index(next(t for t in run.trace if t.endswith("healed")))]
    assert any("1 blocked" in line for line in before), "\n".join(before)


@pytest.mark.parametrize(
    ("guard", "faults", "noticed"),
    [
        ("fence", Faults(), "a result of epoch"),
        ("inbox", Faults(), "one message was applied twice"),
        ("redelivery", Faults(), "taken over by a message that came the first time"),
        ("branch", ZOMBIES, "its branch moved twice"),
        ("reconciler", Faults(), "is open at epoch"),
    ],
)
def test_a_guard_that_is_taken_away_is_missed(guard: str, faults: Faults, noticed: str) -> None:
    guards = replace(Guards(), **{guard: False})
    for seed in range(CONTROL_RUNS):
        run = Simulation(seed, faults=faults, guards=guards).run()
        if any(noticed in violation for violation in run.violations):
            return
    raise AssertionError(f"{CONTROL_RUNS} runs without the {guard} and nobody noticed")
