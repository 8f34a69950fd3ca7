"""The journal of events: one suite for the ledger in memory and the real one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from test_ledger_contract import AGENT, INFRA, PROVEN, WORK, World, letter, real, said, world
from test_presence_contract import BY, DRAIN, STOP, register, report, wants
from test_presence_contract import WORK as RESUME

from loom.domain.bead import Amendment
from loom.domain.event import TYPES, EventFilter, EventLine, Place
from loom.domain.presence import LOST_AFTER_S
from loom.domain.project import ProjectChange, ProjectState
from loom.errors import Invalid

__all__ = ["real", "world"]

PATIENCE_S = 20.0


def journal(world: World, *needed: str, **wants: Any) -> list[EventLine]:
    """All that is told, oldest first, once these types are among it, each as often as named."""
    place, found = Place(), list[EventLine]()
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        page = world.control.watch_events(place, EventFilter(**wants), 7, 500)
        found += page.events
        place = page.place
        if not page.more and Counter(needed) <= Counter(types(found)):
            return found
    raise AssertionError(f"{Counter(needed) - Counter(types(found))} is not told: {found}")


def types(events: Iterable[EventLine]) -> list[str]:
    return [event.type for event in events]


def last(world: World, type_: str, times: int = 1) -> EventLine:
    """The last of that type, once it was told so often."""
    return [event for event in journal(world, *[type_] * times) if event.type == type_][-1]


# Every change of state.


def test_the_life_of_a_bead_is_told_in_its_order(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    world.report(said(bead, PROVEN))
    told = journal(world, "bead.closed", bead_id=bead.id)
    assert types(told) == ["bead.created", "bead.claimed", "attempt.ended", "bead.closed"]
    assert [event.epoch for event in told] == [0, 1, 1, 1]
    assert told[2].data["outcome"] == "succeeded"
    assert told[3].data["resolution"] == "succeeded"
    assert {(e.project_id, e.bead_id, e.correlation_id) for e in told} == {
        ("alpha", bead.id, "corr")
    }
    assert len({event.id for event in told}) == 4


def test_a_project_is_told_of_when_it_is_made_and_changed(world: World) -> None:
    world.project()
    world.control.update_project("alpha", ProjectChange(state=ProjectState.PAUSED), "corr")
    told = journal(world, "project.changed")
    assert types(told) == ["project.created", "project.changed"]
    assert told[1].data["state"] == "paused"


def test_retries_blocks_and_what_people_do_are_told(world: World) -> None:
    world.project()
    bead = world.bead()
    world.control.amend_bead(bead.id, Amendment(priority=0))
    world.claim(bead)
    world.report(said(bead, INFRA))
    world.dispatch()
    world.claim(bead, 2)
    world.ingester.record_dead_letters([letter(bead, 2, queue="loom.results")])
    world.control.unblock_bead(bead.id, BY)
    world.control.cancel_bead(bead.id, BY)
    told = journal(world, "bead.closed", bead_id=bead.id)
    assert types(told) == [
        "bead.created", "bead.edited",
        "bead.claimed", "attempt.ended", "bead.retried",
        "bead.claimed", "dead_letter.recorded", "attempt.ended", "bead.blocked",
        "bead.unblocked", "dead_letter.replayed", "bead.closed",
    ]  # fmt: skip
    assert told[3].data["failure_class"] == "infra"
    assert told[-1].data["resolution"] == "cancelled"


def test_a_takeover_ends_one_attempt_and_begins_another(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.claim(bead, redelivered=True)
    told = journal(world, "bead.claimed", "attempt.ended", "bead.claimed", bead_id=bead.id)
    assert types(told)[-2:] == ["attempt.ended", "bead.claimed"]
    assert told[-2].data["outcome"] == "superseded"


def test_a_lost_attempt_is_told(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.advance(60)
    world.engine.expire_leases()
    told = journal(world, "bead.retried", bead_id=bead.id)
    assert told[-2].data["outcome"] == "lost"


def test_a_report_that_comes_too_late_is_told(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, WORK))
    world.report(said(bead, WORK))
    assert last(world, "attempt.stale").data["agent_id"] == AGENT


def test_letters_without_a_bead_are_told_when_they_come_and_when_they_go(world: World) -> None:
    world.project()
    bead = world.bead()
    world.ingester.record_dead_letters(
        [letter(bead, message_id=f"m{n}", bead_id="", fingerprint="f") for n in range(3)]
    )
    come = last(world, "dead_letter.recorded", times=3)
    first = come.data["letter_id"]
    assert come.data["reason"] == "malformed"
    world.control.discard_dead_letter(first, BY)
    assert last(world, "dead_letter.discarded").data["letter_id"] == first
    world.control.discard_dead_letter_group("f", BY)
    assert last(world, "dead_letter.discarded", times=2).data == {
        "fingerprint": "f", "letters": 2, "by": "ada"
    }  # fmt: skip


def test_a_replayed_letter_is_told_once(world: World) -> None:
    world.project()
    bead = world.bead()
    world.ingester.record_dead_letters([letter(bead)])
    letter_id = last(world, "dead_letter.recorded").data["letter_id"]
    world.control.replay_dead_letter(letter_id, BY)
    told = types(journal(world, "bead.unblocked", "dead_letter.replayed"))
    assert told.count("dead_letter.replayed") == 1


def test_an_agent_is_told_of_from_its_start_to_its_end(world: World) -> None:
    world.project()
    register(world)
    wants(world, DRAIN)
    wants(world, RESUME)
    wants(world, STOP)
    report(world)
    report(world, goodbye=True)
    register(world, instance="2")
    told = journal(world, "agent.stopped", *["agent.registered"] * 2, types=("agent.*",))
    assert types(told) == [
        "agent.registered", "agent.drained", "agent.resumed", "agent.told_to_stop",
        "agent.stopped", "agent.registered",
    ]  # fmt: skip
    assert told[1].data == {"agent_id": AGENT, "by": "ada"}
    assert told[0].data["host"] == "host"


def test_an_agent_is_told_to_be_lost_once_and_to_be_back(world: World) -> None:
    world.project()
    register(world)
    world.engine.forget_agents()
    world.advance(LOST_AFTER_S + 1)
    world.engine.forget_agents()
    world.engine.forget_agents()
    report(world)
    told = journal(world, "agent.returned", types=("agent.*",))
    assert types(told) == ["agent.registered", "agent.lost", "agent.returned"]


# Reading.


def test_every_type_that_is_told_is_in_the_table(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    register(world)
    world.report(said(bead, INFRA))
    assert set(types(journal(world, "bead.retried", "agent.registered"))) <= TYPES.keys()


def test_filters_take_projects_beads_and_types(world: World) -> None:
    world.project()
    world.project("beta")
    mine, other = world.bead(), world.bead("beta")
    world.claim(mine)
    journal(world, "bead.claimed")
    assert {e.project_id for e in journal(world, projects=frozenset({"beta"}))} == {"beta"}
    assert journal(world, projects=frozenset()) == []
    assert types(journal(world, bead_id=other.id)) == ["bead.created"]
    assert set(types(journal(world, types=("project.*", "bead.claimed")))) == {
        "project.created", "bead.claimed",
    }  # fmt: skip
    everything = journal(world)
    moment = everything[2].at
    assert all(e.at >= moment for e in journal(world, since=moment))
    assert len(journal(world, since=moment)) + len(journal(world, until=moment)) == len(everything)
    assert journal(world, since=moment + timedelta(days=1)) == []


@pytest.mark.parametrize("pattern", ["bead", "bead.nothing", "nothing.*", "%", "bead.%", "be*"])
def test_a_type_that_nothing_has_is_refused(world: World, pattern: str) -> None:
    with pytest.raises(Invalid, match="no type of event"):
        world.control.list_events(EventFilter(types=(pattern,)))


@pytest.mark.parametrize("limit", [-1, 501])
def test_a_list_is_not_longer_than_it_may_be(world: World, limit: int) -> None:
    with pytest.raises(Invalid, match="limit"):
        world.control.list_events(limit=limit)


def test_pages_in_both_orders_hold_every_event_once(world: World) -> None:
    world.project()
    world.file(*"abcdefg")
    forwards = journal(world, *["bead.created"] * 7)
    assert len(forwards) == 8
    backwards: list[EventLine] = []
    page = world.control.list_events(limit=3)
    while True:
        backwards += page.events
        if not page.more:
            break
        page = world.control.list_events(place=page.place, limit=3)
    assert backwards == forwards[::-1]
    oldest = world.control.list_events(limit=5, newest_first=False)
    assert (list(oldest.events), oldest.more) == (forwards[:5], True)
    rest = world.control.list_events(place=oldest.place, limit=5, newest_first=False)
    assert (list(rest.events), rest.more) == (forwards[5:], False)


def test_whoever_asks_where_now_is_hears_what_comes_after(world: World) -> None:
    world.project()
    journal(world, "project.created")
    now = world.control.watch_events()
    assert now.events == ()
    bead = world.bead()
    found: list[EventLine] = []
    place = now.place
    while not found:
        page = world.control.watch_events(place, wait_ms=1000)
        found, place = list(page.events), page.place
    assert [event.bead_id for event in found] == [bead.id]


def test_a_place_moves_on_past_what_nobody_wants(world: World) -> None:
    world.project()
    journal(world, "project.created")
    wants = EventFilter(types=("agent.*",))
    page = world.control.watch_events(Place(), wants)
    assert page.events == ()
    assert page.place >= journal(world)[-1].place


@pytest.mark.parametrize("text", ["", "1-2", "1-2-x", "1-2-3-4", "-1-2-3", f"1-2-{2**63}"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Place.parse(text)
