"""Which agents there are: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from typing import Any

import pytest
from test_ledger_contract import AGENT, World, real, world
from test_waiting_contract import one, why

from loom.domain.audit import Intervention
from loom.domain.presence import (
    FORGOTTEN_AFTER_S,
    LOST_AFTER_S,
    WISH_KEPT_S,
    Agent,
    AgentState,
    AgentWish,
    Registration,
    Report,
    RunningBead,
)
from loom.errors import Invalid, NotFound, Stale

__all__ = ["real", "world"]

BY = Intervention("ada", "the disk is changed", "corr")
OTHER = "agent-alpha@second"
ALIVE, BUSY, DRAINING = AgentState.ALIVE, AgentState.BUSY, AgentState.DRAINING
LOST, STOPPED = AgentState.LOST, AgentState.STOPPED
WORK, DRAIN, STOP = AgentWish.WORK, AgentWish.DRAIN, AgentWish.STOP


def register(world: World, name: str = AGENT, instance: str = "1", **other: Any) -> AgentWish:
    project = name.removeprefix("agent-").partition("@")[0]
    words: dict[str, Any] = {"host": "host", "pid": 7, "versions": {"loom": "1"}}
    told = Registration(name, project, instance, **words | other)
    wish: AgentWish = world.agents[project].register_agent(told)
    return wish


def report(world: World, name: str = AGENT, instance: str = "1", **other: Any) -> AgentWish:
    project = name.removeprefix("agent-").partition("@")[0]
    told = Report(name, instance, **{"concurrency": 1} | other)
    wish: AgentWish = world.agents[project].report_agent(told)
    return wish


def working_on(*bead_ids: str) -> dict[str, Any]:
    return {"running": tuple(RunningBead(bead_id, 1) for bead_id in bead_ids)}


def seen(world: World, name: str = AGENT) -> Agent:
    agent: Agent = world.control.get_agent(name)
    return agent


def state(world: World, name: str = AGENT) -> AgentState:
    return seen(world, name).state


def wants(world: World, wish: AgentWish, name: str = AGENT) -> Agent:
    agent: Agent = world.control.steer_agent(name, wish, BY)
    return agent


# Registering and reporting.


def test_an_agent_is_known_by_what_it_told(world: World) -> None:
    world.project()
    assert register(world, tools={"make": "4.3"}) is WORK
    assert report(world, concurrency=2, load=0.5, disk_free=10**12, **working_on("bd-1")) is WORK
    agent = seen(world)
    assert (agent.project_id, agent.host, agent.pid) == ("alpha", "host", 7)
    assert (agent.versions, agent.tools) == ({"loom": "1"}, {"make": "4.3"})
    assert (agent.concurrency, agent.load, agent.disk_free) == (2, 0.5, 10**12)
    assert agent.running == (RunningBead("bd-1", 1),)
    assert agent.silent_s < LOST_AFTER_S


def test_an_agent_is_alive_then_busy_then_alive(world: World) -> None:
    world.project()
    register(world)
    assert state(world) is ALIVE
    world.advance(5)
    report(world, **working_on("bd-1"))
    busy = seen(world)
    assert busy.state is BUSY
    assert busy.since > busy.started_at
    world.advance(5)
    report(world, **working_on("bd-2"))
    assert (seen(world).since - seen(world).started_at).total_seconds() == pytest.approx(5, abs=3)
    report(world)
    assert state(world) is ALIVE


def test_an_agent_that_says_nothing_is_lost_until_it_speaks(world: World) -> None:
    world.project()
    register(world)
    report(world, **working_on("bd-1"))
    world.advance(LOST_AFTER_S + 1)
    assert state(world) is LOST
    assert seen(world).since == seen(world).last_seen
    report(world)
    assert state(world) is ALIVE


def test_an_agent_that_said_goodbye_has_stopped_and_runs_nothing(world: World) -> None:
    world.project()
    register(world)
    report(world, goodbye=True)
    world.advance(LOST_AFTER_S + 1)
    assert state(world) is STOPPED
    register(world, instance="2")
    assert state(world) is ALIVE


def test_a_fresh_start_takes_the_place_of_the_one_before(world: World) -> None:
    world.project()
    register(world)
    report(world, **working_on("bd-1"))
    register(world, instance="2", pid=8)
    assert (state(world), seen(world).pid, seen(world).running) == (ALIVE, 8, ())
    with pytest.raises(Stale, match="pid 8"):
        report(world, instance="1", goodbye=True)
    assert state(world) is ALIVE


def test_what_is_found_later_is_added_to_a_registration(world: World) -> None:
    world.project()
    register(world)
    report(world, **working_on("bd-1"))
    register(world, tools={"node": "v20"})
    assert seen(world).tools == {"node": "v20"}
    assert state(world) is BUSY


def test_an_agent_that_the_ledger_does_not_know_has_to_register(world: World) -> None:
    world.project()
    with pytest.raises(NotFound):
        report(world)
    with pytest.raises(NotFound):
        seen(world)


@pytest.mark.parametrize(
    "name", ["agent-alpha", "worker@host", "agent-beta@host", "agent-alpha@", "agent-alpha@a b"]
)
def test_a_name_that_is_no_agents_of_the_project_is_refused(world: World, name: str) -> None:
    world.project()
    told = Registration(name, "alpha", "1", "host", 7)
    with pytest.raises(Invalid, match="agent"):
        world.agents["alpha"].register_agent(told)


def test_an_agent_of_no_project_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        register(world)


# What people want.


def test_a_drained_agent_hears_of_it_until_it_is_resumed(world: World) -> None:
    world.project()
    register(world)
    report(world, **working_on("bd-1"))
    assert wants(world, DRAIN).state is DRAINING
    assert report(world, **working_on("bd-1")) is DRAIN
    assert report(world, consuming=False) is DRAIN
    assert state(world) is DRAINING
    assert wants(world, WORK).wish is WORK
    assert report(world) is WORK
    assert state(world) is ALIVE


def test_a_drained_agent_is_still_drained_after_its_restart(world: World) -> None:
    world.project()
    register(world)
    wants(world, DRAIN)
    report(world, goodbye=True)
    assert register(world, instance="2") is DRAIN


def test_an_agent_that_was_asked_to_stop_may_work_when_it_is_started_again(world: World) -> None:
    world.project()
    register(world)
    wants(world, STOP)
    assert report(world) is STOP
    assert register(world, instance="2") is STOP, "it has not said goodbye yet"
    report(world, instance="2", goodbye=True)
    assert wants(world, STOP).wish is WORK, "it has stopped already"
    assert register(world, instance="3") is WORK


def test_what_somebody_told_the_agent_itself_counts_as_a_wish(world: World) -> None:
    world.project()
    register(world)
    assert report(world, asks=DRAIN, consuming=False) is DRAIN
    assert report(world, consuming=False) is DRAIN
    assert state(world) is DRAINING
    assert wants(world, WORK).state is DRAINING, "it has not heard of it yet"
    assert report(world) is WORK
    (_, line) = world.control.list_audit(target=AGENT).items
    assert (line.actor, line.action) == (AGENT, "agent.drain")


def test_every_wish_stands_in_the_audit_once(world: World) -> None:
    world.project()
    register(world)
    for wish in (DRAIN, DRAIN, WORK, STOP):
        wants(world, wish)
    lines = world.control.list_audit(target=AGENT).items
    assert [line.action for line in lines] == ["agent.stop", "agent.resume", "agent.drain"]
    assert {(line.actor, line.reason) for line in lines} == {("ada", "the disk is changed")}


def test_nothing_is_wanted_of_an_agent_that_there_is_not_or_without_a_reason(world: World) -> None:
    world.project()
    with pytest.raises(NotFound):
        wants(world, DRAIN)
    register(world)
    with pytest.raises(Invalid):
        world.control.steer_agent(AGENT, DRAIN, Intervention("ada", " "))
    with pytest.raises(Invalid):
        wants(world, DRAIN, "agent-alpha")


# Listing and forgetting.


def test_agents_are_listed_by_project_and_state_in_pages(world: World) -> None:
    world.project()
    world.project("beta")
    names = ["agent-alpha@B", "agent-alpha@a", "agent-beta@c"]
    for name in reversed(names):
        register(world, name)
    report(world, "agent-alpha@a", **working_on("bd-1"))
    first = world.control.list_agents(page_size=2)
    second = world.control.list_agents(page_size=2, cursor=first.next_cursor)
    assert [agent.name for agent in first.items + second.items] == names
    assert second.next_cursor == ""
    (busy,) = world.control.list_agents("alpha", BUSY).items
    assert busy.name == "agent-alpha@a"
    assert world.control.list_agents("beta", BUSY).items == ()


def test_agents_are_forgotten_after_a_day_of_silence_and_wishes_later(world: World) -> None:
    world.project()
    for name in (AGENT, OTHER):
        register(world, name)
    wants(world, DRAIN, OTHER)
    world.advance(FORGOTTEN_AFTER_S - 10)
    assert world.engine.forget_agents() == 0
    world.advance(20)
    assert world.engine.forget_agents() == 1
    assert [agent.name for agent in world.control.list_agents().items] == [OTHER]
    world.advance(WISH_KEPT_S)
    assert world.engine.forget_agents() == 1


# Why a bead waits.


def test_why_tells_of_agents_that_are_lost_drain_or_are_busy(world: World) -> None:
    world.project()
    bead = one(world)
    world.dispatch()
    assert why(world, bead) == ["no_agent"]
    register(world)
    assert why(world, bead) == ["in_queue"]
    report(world, **working_on("bd-1"))
    assert why(world, bead) == ["agents_busy"]
    report(world, concurrency=2, **working_on("bd-1"))
    assert why(world, bead) == ["in_queue"]
    wants(world, DRAIN)
    assert why(world, bead) == ["agents_draining"]
    register(world, OTHER)
    assert why(world, bead) == ["in_queue"]
    report(world, OTHER, goodbye=True)
    world.advance(LOST_AFTER_S + 1)
    (reason,) = world.control.explain_bead(bead.id).reasons
    assert reason.code == "no_agent"
    assert f"{AGENT} was last heard of 2" in reason.sentence
    assert "loom agent start alpha" in reason.remedy


def test_why_tells_that_a_full_queue_has_nobody_who_takes_from_it(world: World) -> None:
    world.project(queue_window=1)
    register(world)
    one(world)
    second = one(world)
    world.dispatch()
    assert why(world, second) == ["window_full"]
    wants(world, DRAIN)
    assert why(world, second) == ["agents_draining", "window_full"]
