"""The order of what waits, whose turn it is, circles, and why a bead does not run."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.blockers import check_no_cycle, find_cycle
from loom.domain.evidence import FailureClass
from loom.domain.fairness import Share, turns
from loom.domain.lifecycle import Move, Resolution, State
from loom.domain.presence import Crew
from loom.domain.priority import (
    AGEING_S,
    MAX_PRIORITY,
    check_not_before,
    effective_priority,
    rank,
    waiting_since,
)
from loom.domain.project import ProjectState
from loom.domain.retry import BUDGET, after_failure, budget_of
from loom.domain.waiting import Blocker, Facts, explain
from loom.errors import Invalid

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PRIORITIES = st.integers(0, MAX_PRIORITY)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
FACTS = Facts(
    "b", "shop", State.OPEN, NOW, NOW - timedelta(minutes=5), 2, window=32, owed=True,
    available_at=NOW - timedelta(minutes=5),
)  # fmt: skip


# Priorities.


@given(PRIORITIES, MOMENTS, PRIORITIES, MOMENTS, MOMENTS)
def test_a_rank_orders_as_the_effective_priorities_do_at_every_moment(
    mine: int, since: datetime, yours: int, your_since: datetime, now: datetime
) -> None:
    at_now = effective_priority(mine, (now - since).total_seconds()) - effective_priority(
        yours, (now - your_since).total_seconds()
    )
    apart = (rank(mine, since) - rank(yours, your_since)).total_seconds() / AGEING_S
    assert at_now == pytest.approx(apart, abs=1e-6)


@given(PRIORITIES, PRIORITIES)
def test_nothing_waits_for_what_is_filed_later_than_ageing_allows(old: int, fresh: int) -> None:
    waited = timedelta(seconds=MAX_PRIORITY * AGEING_S + 1)
    assert rank(old, NOW - waited) < rank(fresh, NOW)


def test_waiting_counts_from_when_a_bead_is_due() -> None:
    assert waiting_since(NOW) == NOW
    assert waiting_since(NOW, NOW - timedelta(days=1)) == NOW
    assert waiting_since(NOW, NOW + timedelta(days=1)) == NOW + timedelta(days=1)


def test_a_bead_is_due_at_a_moment_that_comes() -> None:
    assert check_not_before(None) is None
    assert check_not_before(NOW) == NOW
    with pytest.raises(Invalid):
        check_not_before(datetime(9000, 1, 1, tzinfo=UTC))


# Shares.


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 100), min_size=2),
    st.integers(1, 50),
)
def test_whoever_always_has_work_gets_its_share_within_one_turn(
    weights: dict[str, int], limit: int
) -> None:
    shares = {project: Share(weight) for project, weight in weights.items()}
    had: Counter[str] = Counter()
    for _ in range(20):
        order, shares = turns(shares, dict.fromkeys(weights, limit), limit)
        had.update(order)
    # The bound of start-time fair queueing: no two are further apart than one turn of each.
    for (one, weight), (other, its_weight) in itertools.combinations(weights.items(), 2):
        apart = had[one] / weight - had[other] / its_weight
        assert abs(apart) <= 1 / weight + 1 / its_weight + 1e-6


def test_who_was_idle_takes_its_turn_and_no_more() -> None:
    shares = {"a": Share(10), "b": Share(10)}
    _, shares = turns(shares, {"a": 100}, 100)
    order, _ = turns(shares, {"a": 10, "b": 10}, 10)
    assert abs(Counter(order)["a"] - Counter(order)["b"]) <= 1


def test_no_turn_is_given_to_who_has_nothing() -> None:
    shares = {"a": Share(1), "b": Share(100)}
    assert turns(shares, {"a": 2, "b": 0}, 10)[0] == ("a", "a")


# Circles.


@given(st.dictionaries(st.integers(0, 8).map(str), st.sets(st.integers(0, 8).map(str))))
def test_a_circle_is_found_exactly_when_there_is_one(graph: dict[str, set[str]]) -> None:
    cycle = find_cycle(graph, graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(b in graph[a] for a, b in itertools.pairwise(cycle))
        return
    left = dict(graph)
    while left:
        free = [bead for bead, blockers in left.items() if not blockers & left.keys()]
        assert free, "whoever is left waits in a circle"
        for bead in free:
            del left[bead]


def test_a_circle_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="a -> b -> a") as refused:
        check_no_cycle({"a": ["b"], "b": ["a"]}, ["a"])
    assert refused.value.data["cycle"] == "a b a"


def test_a_chain_of_ten_thousand_is_no_circle() -> None:
    chain = {str(n): [str(n + 1)] for n in range(10_000)}
    assert find_cycle(chain, ["0"]) == ()


# Limits.


def test_a_limit_takes_the_place_of_the_budget_of_what_is_tried_again() -> None:
    assert budget_of(FailureClass.INFRA) == BUDGET[FailureClass.INFRA]
    assert budget_of(FailureClass.INFRA, 2) == 2
    assert budget_of(FailureClass.INFRA, 50) == 50
    assert budget_of(FailureClass.WORK, 50) == 1, "tests that fail are not tried again"


def test_a_limit_that_is_spent_blocks_with_the_reason() -> None:
    assert after_failure(FailureClass.INFRA, 1, "no disk", 0.5, 2).move is Move.RETRY
    spent = after_failure(FailureClass.INFRA, 2, "no disk", 0.5, 2)
    assert spent.move is Move.BLOCK
    assert "no disk" in spent.reason


# Why.

SENT = {"owed": False, "sent": True, "sent_at": NOW - timedelta(seconds=5)}
LATER = NOW + timedelta(minutes=3)
CLOSED = Blocker("x", State.CLOSED, Resolution.CANCELLED)


@pytest.mark.parametrize(
    ("facts", "codes", "words"),
    [
        ({"ahead": 3}, ["in_line"], "after 3 beads"),
        ({"leased": True}, ["being_sent"], "a dispatcher"),
        ({"available_at": LATER, "attempts": 2}, ["retry_delay"], "attempt 2"),
        (
            {"available_at": LATER, "last_error": "no route", "tries": 4},
            ["not_published"], "4 times, the last time: no route",
        ),
        (
            {"sent_of_project": 30, "leased_of_project": 2, "crew": Crew(1, free=1)},
            ["window_full"], "32 beads",
        ),
        (
            {"sent_of_project": 32, "crew": Crew(lost="a@h", lost_s=61.0)},
            ["no_agent", "window_full"], "a@h was last heard of 61 s ago",
        ),
        (SENT | {"crew": Crew(2, draining=1, free=1)}, ["in_queue"], "for an agent"),
        (SENT | {"crew": Crew(2, draining=1)}, ["agents_busy"], "every agent of"),
        (SENT | {"crew": Crew(2, draining=2)}, ["agents_draining"], "each of the 2 agents"),
        (SENT | {"in_progress": 1, "crew": Crew(1, draining=1)}, ["agents_draining"], "the only"),
        ({"cap": 2, "in_progress": 2}, ["cap_reached"], "may have 2"),
        ({"cap": 2, "in_progress": 1, "sent_of_project": 1}, ["cap_reached"], "or were sent"),
        ({"not_before": LATER}, ["not_due"], "in 3 min"),
        ({"project_state": ProjectState.PAUSED}, ["project_paused"], "paused"),
        ({"project_state": ProjectState.DRAINING}, ["project_draining"], "draining"),
        ({"project_state": ProjectState.DRAINING, "attempts": 1}, ["in_line"], "next"),
        ({"blockers": (Blocker("x", State.OPEN),)}, ["waits_for_beads"], "x (open)"),
        ({"blockers": (CLOSED,)}, ["blocker_did_not_succeed"], "x (cancelled)"),
        (
            {"blockers": (CLOSED, Blocker("y", State.BLOCKED, child=True))},
            ["blocker_did_not_succeed", "waits_for_beads"], "x (cancelled)",
        ),
        (SENT | {"in_progress": 1, "sent_of_project": 4}, ["in_queue"], "4 messages"),
        (SENT | {"sent_at": NOW - timedelta(minutes=5)}, ["no_agent"], "5 min"),
        (
            SENT | {"project_state": ProjectState.PAUSED}, ["project_paused", "in_queue"], "paused",
        ),
        ({"owed": False}, ["unaccounted"], "neither owes"),
        (
            {"state": State.IN_PROGRESS, "agent": "a@h", "lease_left_s": 12.0},
            ["running"], "a@h works at it",
        ),
        ({"state": State.IN_PROGRESS, "lease_left_s": -1.0}, ["lease_ran_out"], "lease"),
        ({"state": State.BLOCKED, "reason": "no disk"}, ["blocked"], "no disk"),
        (
            {"state": State.CLOSED, "resolution": Resolution.FAILED, "reason": "2 fail"},
            ["failed"], "2 fail",
        ),
    ],
)  # fmt: skip
def test_why_a_bead_is_not_running(facts: dict[str, object], codes: list[str], words: str) -> None:
    why = explain(replace(FACTS, **facts))  # type: ignore[arg-type]
    assert [reason.code for reason in why.reasons] == codes
    assert why.code == codes[0]
    assert words in why.reasons[0].sentence
    assert all(reason.remedy for reason in why.reasons)


@given(
    st.fixed_dictionaries(
        {
            "state": st.sampled_from(State), "owed": st.booleans(), "sent": st.booleans(),
            "leased": st.booleans(), "cap": st.integers(0, 3), "tries": st.integers(0, 2),
            "project_state": st.sampled_from(ProjectState), "not_before": st.none() | MOMENTS,
            "sent_at": st.none() | MOMENTS, "resolution": st.sampled_from(Resolution),
        }
    )
)  # fmt: skip
def test_there_is_always_an_answer(facts: dict[str, Any]) -> None:
    why = explain(replace(FACTS, in_progress=1, **facts))
    assert why.reasons
    assert all(reason.sentence and reason.remedy for reason in why.reasons)


def test_many_blockers_are_named_in_part() -> None:
    why = explain(replace(FACTS, blockers=tuple(Blocker(f"x{n}", State.OPEN) for n in range(9))))
    assert "x4 (open) and 4 more" in why.reasons[0].sentence
    assert why.position == 0


def test_a_child_that_failed_is_taken_off_by_its_own_id() -> None:
    child = Blocker("kid", State.CLOSED, Resolution.FAILED, child=True)
    assert "`loom bead edit kid --no-parent`" in explain(
        replace(FACTS, blockers=(child,))
    ).reasons[0].remedy  # fmt: skip
