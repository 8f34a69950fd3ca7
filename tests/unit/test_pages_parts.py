"""What the pages are put together from: words, the state of the trip, a bead's way, the picture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from loom.control.fresh import Fresh
from loom.control.pages import condition, picture, trip, words
from loom.control.pages.condition import Broker, Crew
from loom.control.pages.desk import Queues
from loom.domain.bead import Attempt, Bead
from loom.domain.event import EventLine, Place
from loom.domain.evidence import FailureClass, Step, StepKind, TestReport
from loom.domain.lifecycle import Resolution, State
from loom.domain.project import Project, ProjectState
from loom.domain.reconciliation import Depth
from loom.domain.statistics import Flow, ProjectFlow, Trip
from loom.domain.waiting import Reason, Why

NOW = datetime(2026, 5, 1, 12, 0, 0, 123_456, UTC)
NOBODY = Why("bd-1", State.OPEN, (Reason("queued", "it is its turn", ""),), 2.0)
QUIET = Broker(ready=0, unacked=0, results=0, dead=0)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# Words.


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"), (0.25, "250 ms"), (9.96, "10.0 s"), (42.4, "42 s"), (60, "1 min"),
        (90, "1 min 30 s"), (3_600, "1 h"), (5_400, "1 h 30 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


def test_a_moment_is_said_by_how_long_ago_it_was() -> None:
    assert words.ago(NOW, later(2)) == "just now"
    assert words.ago(NOW, later(90)) == "2 min ago"
    assert words.ago(later(7_200), NOW) == "in 2 h"
    assert words.ago(None) == "never"
    assert words.exact(NOW) == "2026-05-01 12:00:00.123 UTC"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
)
def test_a_size_is_said_in_its_unit(count: int, said: str) -> None:
    assert words.size(count) == said


def test_counts_have_their_thousands_apart() -> None:
    assert words.number(12_345) == "12\u202f345"
    assert words.number(25_000_000) == "25 M"
    assert words.number(None) == "–"


def test_an_id_is_shortened_so_that_it_still_tells_beads_apart() -> None:
    assert words.short("bd-01m82mhd8j1msx4jkhz4emerra") == "bd-…khz4emerra"
    assert words.short("bd-1") == "bd-1"


# What is fetched once for all.


def test_an_answer_is_fetched_again_when_it_has_become_old() -> None:
    at, made = [0.0], []

    def fetch() -> int:
        made.append(1)
        return len(made)

    fresh = Fresh(2.0, fetch, lambda: at[0])
    assert [fresh.get(), fresh.get()] == [1, 1]
    at[0] = 2.5
    assert fresh.get() == 2
    assert [fresh.renew(), fresh.get()] == [3, 3]


def test_a_failure_is_not_kept() -> None:
    failing = [True]

    def fetch() -> str:
        if failing[0]:
            raise ValueError
        return "well"

    fresh = Fresh(2.0, fetch)
    with pytest.raises(ValueError):
        fresh.get()
    failing[0] = False
    assert fresh.get() == "well"


# What needs somebody.


def test_nothing_needs_anybody_while_all_is_well() -> None:
    flow = Flow(NOW, (ProjectFlow("shop", open=3, in_progress=1),))
    projects = [Project("shop", "/r")]
    assert condition.needs(flow, QUIET, Crew(busy=1), projects, living=["shop"]) == ()


def test_what_is_worst_comes_first() -> None:
    flow = Flow(NOW, (ProjectFlow("shop", blocked=2, dead=1, oldest_dead_s=60),))
    found = condition.needs(
        flow, QUIET, Crew(lost=("agent-shop@one",)), [Project("shop", "/r")],
        parts_away=["database"], unaccounted=3,
    )  # fmt: skip
    assert [need.kind for need in found] == ["bad"] * 3 + ["warn"] * 2
    said = " ".join(need.what for need in found)
    for part in (
        "database is away", "3 beads are unaccounted for", "1 dead letter", "2 beads are blocked",
        "1 agent is lost",
    ):  # fmt: skip
        assert part in said


def test_a_project_whose_beads_find_no_agent_is_named() -> None:
    flow = Flow(NOW, (ProjectFlow("docs", open=1), ProjectFlow("shop", open=1)))
    projects = [Project("docs", "/r", state=ProjectState.PAUSED), Project("shop", "/r")]
    found = condition.needs(flow, QUIET, Crew(), projects)
    assert [need.what for need in found] == ["shop has beads and no agent", "docs is paused"]


def test_events_that_nobody_sends_say_that_the_dispatcher_is_away() -> None:
    late = Flow(NOW, oldest_event_s=30.0)
    assert "Nothing has been dispatched" in condition.needs(late, QUIET, Crew(), [])[0].what
    hops = condition.hops(late, QUIET, Crew(), [])
    assert (hops["dispatcher"].health, hops["api"].health) == ("bad", "good")


def test_queues_that_cannot_be_read_are_unknown_and_not_empty() -> None:
    stands = condition.broker(Queues(why="the broker does not answer"), ["shop"])
    hops = condition.hops(Flow(NOW), stands, Crew(), [])
    assert (hops["queues"].value, hops["queues"].health) == ("–", "unknown")


def test_the_depths_of_the_projects_queues_are_added_up() -> None:
    depths = [
        Depth("loom.tasks.a", 3, 1), Depth("loom.tasks.b", 2, None), Depth("loom.tasks.c", 99),
        Depth("loom.results", 4), Depth("loom.dead.a", 1),
    ]  # fmt: skip
    stands = condition.broker(Queues({d.queue: d for d in depths}), ["a", "b"])
    assert (stands.ready, stands.unacked, stands.results, stands.dead) == (5, 1, 4, 1)


def test_a_queue_with_beads_and_nobody_to_take_them_is_bad() -> None:
    flow = Flow(NOW, (ProjectFlow("shop", open=1, queued=1, oldest_queued_s=9),))
    assert condition.hops(flow, QUIET, Crew(), [])["queues"].health == "bad"
    assert condition.hops(flow, QUIET, Crew(alive=1, capacity=1), [])["queues"].health == "good"


# The picture.


@pytest.mark.parametrize("draw", [picture.wide, picture.tall])
def test_every_station_stands_within_the_picture_and_none_on_another(draw: object) -> None:
    hops = condition.hops(Flow(NOW), QUIET, Crew(), [])
    drawn = draw(hops, ProjectFlow("", filed=4, claimed=90))  # type: ignore[operator]
    assert {node.hop.key for node in drawn.nodes} == set(hops)
    for node in drawn.nodes:
        assert node.x >= 0
        assert node.x + node.w <= drawn.width
        assert node.y + node.h <= drawn.height
    for one in drawn.nodes:
        for other in drawn.nodes:
            apart = one.x + one.w <= other.x or one.y + one.h <= other.y
            apart = apart or other.x + other.w <= one.x or other.y + other.h <= one.y
            assert one is other or apart, (one.hop.key, other.hop.key)
    assert {edge.pace for edge in drawn.edges} == {"still", "slow", "quick"}


# A bead's way.


def bead(state: State = State.CLOSED, **more: object) -> Bead:
    closed = {"closed_at": later(30), "resolution": Resolution.FAILED}
    given = (closed if state is State.CLOSED else {}) | more
    return Bead("bd-1", "shop", "mend it", state, 1, 2, "c", NOW, later(30), **given)  # type: ignore[arg-type]


def tried(**more: object) -> Attempt:
    steps = (
        Step("checkout", ("git",), 0, 2.0),
        Step("lint", ("ruff",), 1, 1.0, kind=StepKind.LINT, advisory=True),
        Step("test", ("pytest",), 1, 12.0, tests=TestReport("junit", 9, 7, 2, 0)),
    )
    given: dict[str, object] = {
        "finished_at": later(28), "steps": steps, "failure_class": FailureClass.WORK,
        "reason": "two tests failed",
    }  # fmt: skip
    ended = str(more.pop("outcome", "failed"))
    return Attempt("bd-1", 1, "agent-shop@one", ended, later(10), later(40), **given | more)  # type: ignore[arg-type]


def test_a_way_is_told_hop_by_hop_with_how_long_each_took() -> None:
    known = Trip(dispatched_at=later(4), dispatched_epoch=1)
    found = trip.hops(bead(), [tried()], known, (), NOBODY)
    told = [(hop.what, hop.took, hop.kind) for hop in found]
    assert told == [
        ("Filed", None, "good"),
        ("On the broker", 4.0, "good"),
        ("Claimed by agent-shop@one", 6.0, "good"),
        ("checkout", 2.0, "good"),
        ("lint", 1.0, "warn"),
        ("test", 12.0, "bad"),
        ("Attempt failed", 18.0, "bad"),
        ("Closed: failed", 2.0, "bad"),
    ]
    assert "2 failed" in found[5].more
    assert found[6].more == "work: two tests failed"


def test_a_bead_that_waits_says_why_at_its_end() -> None:
    found = trip.hops(bead(State.OPEN), [], Trip(owed_at=NOW), (), NOBODY)
    assert [hop.what for hop in found] == ["Filed", "Waits"]
    assert (found[-1].more, found[-1].running) == ("it is its turn", True)


def test_what_people_did_stands_where_it_happened() -> None:
    event = EventLine(Place(), "e", "bead.unblocked", "shop", "bd-1", 1, later(9), {"by": "grace"})
    found = [hop.what for hop in trip.hops(bead(), [tried()], Trip(), [event], NOBODY)]
    assert found.index("Unblocked") == found.index("Claimed by agent-shop@one") - 1
    late = EventLine(Place(), "e", "bead.edited", "shop", "bd-1", 1, later(28.5))
    again = [hop.what for hop in trip.hops(bead(), [tried()], Trip(), [late], NOBODY)]
    assert again[-2:] == ["Edited", "Closed: failed"]


def test_the_bar_of_an_attempt_fills_its_width_with_what_took_the_time() -> None:
    parts = trip.bar(tried(), Trip(dispatched_at=later(4), dispatched_epoch=1), NOW)
    assert [part.kind for part in parts] == ["wait", "queue", "work", "good", "bad", "rest"]
    assert sum(part.seconds for part in parts) == pytest.approx(28.0)
    assert parts[0].x == 0
    assert parts[-1].x + parts[-1].width <= trip.WHOLE
    assert all(a.x + a.width <= b.x for a, b in pairwise(parts))


def test_an_attempt_that_runs_has_no_rest_yet() -> None:
    running = tried(finished_at=None, steps=(), outcome="running", failure_class=None, reason="")
    parts = trip.bar(running, Trip(), NOW)
    assert [part.kind for part in parts] == ["wait"]
    hop = trip.hops(bead(State.IN_PROGRESS), [running], Trip(), (), NOBODY)[-1]
    assert (hop.what, hop.running) == ("Runs", True)
