"""Agents over HTTP and on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_api import PROJECT, Api, problem
from test_cli_commands import Shell

from loom.domain.presence import LOST_AFTER_S, Registration, Report, RunningBead
from loom.engine import agents as silent

AGENTS = "/api/v1/agents"
ONE, TWO = "agent-shop@one", "agent-shop@two"
WHY = {"reason": "the disk is changed"}


@pytest.fixture
def api() -> Api:
    made = Api()
    made.post("/api/v1/projects", PROJECT)
    for name in (TWO, ONE):
        versions = {"loom": "1.0", "python": "3.11"}
        made.ledger.register_agent(
            Registration(name, "shop", "1", "host", 7, versions, {"make": "4.3"})
        )
    made.ledger.report_agent(
        Report(TWO, "1", 2, (RunningBead("bd-1", 3),), load=0.5, disk_free=5 * 1024**3)
    )
    return made


@pytest.fixture
def shell(api: Api) -> Shell:
    return Shell(api)


def names(document: Any) -> list[str]:
    return [agent["name"] for agent in document["agents"]]


def test_agents_are_listed_by_state_and_project_in_pages(api: Api) -> None:
    assert names(api.get(AGENTS).get_json()) == [ONE, TWO]
    assert names(api.get(f"{AGENTS}?state=busy").get_json()) == [TWO]
    assert names(api.get(f"{AGENTS}?project=mill").get_json()) == []
    first = api.get(f"{AGENTS}?limit=1").get_json()
    assert names(api.get(f"{AGENTS}?limit=1&cursor={first['next_cursor']}").get_json()) == [TWO]


@pytest.mark.parametrize("query", ["state=asleep", "project=No", "limit=0", "who=me"])
def test_a_question_that_means_nothing_is_refused(steady: Api, query: str) -> None:
    problem(steady.get(f"{AGENTS}?{query}"), 422, "invalid")


def test_one_agent_is_told_of_in_full(api: Api) -> None:
    told = api.get(f"{AGENTS}/{TWO}").get_json()
    assert (told["state"], told["wish"], told["concurrency"]) == ("busy", "work", 2)
    assert told["running"] == [{"bead_id": "bd-1", "epoch": 3, "link": "/api/v1/beads/bd-1"}]
    assert told["tools"] == {"make": "4.3"}
    api.ledger.advance(LOST_AFTER_S + 1)
    lost = api.get(told["links"]["self"]).get_json()
    assert (lost["state"], lost["since"]) == ("lost", lost["last_seen"])


@pytest.mark.parametrize("name", ["agent-shop@three", "shop", "agent-shop@", "agent-shop@a%0Ab"])
def test_an_agent_that_there_is_not_is_not_found(steady: Api, name: str) -> None:
    problem(steady.get(f"{AGENTS}/{name}"), 404, "not_found")
    problem(steady.post(f"{AGENTS}/{name}/drain", WHY), 404, "not_found")


def test_an_agent_is_drained_resumed_and_stopped_with_a_reason(api: Api) -> None:
    for act, wish in (("drain", "drain"), ("resume", "work"), ("stop", "stop")):
        answer = api.post(f"{AGENTS}/{ONE}/{act}", WHY)
        assert (answer.status_code, answer.get_json()["wish"]) == (200, wish)
    lines = api.get(f"/api/v1/audit?target={ONE}").get_json()["lines"]
    assert [line["action"] for line in lines] == ["agent.stop", "agent.resume", "agent.drain"]
    assert {line["reason"] for line in lines} == {"the disk is changed"}
    problem(api.post(f"{AGENTS}/{ONE}/drain", {}), 422, "invalid")
    problem(api.post(f"{AGENTS}/{ONE}/kill", WHY), 404, "not_found")


def test_the_command_lists_and_shows_agents(shell: Shell) -> None:
    table = shell.run("agent", "list", "--project", "shop")
    assert table.exit_code == 0, table.output
    assert f"{TWO}" in table.output
    assert "busy" in table.output
    assert "bd-1" in table.output
    listed = json.loads(shell.run("agent", "list", "--state", "alive", "--json").output)
    assert names(listed) == [ONE]
    shown = shell.run("agent", "show", TWO).output
    assert "make 4.3" in shown
    assert "5.0 GiB" in shown
    assert json.loads(shell.run("agent", "show", TWO, "--json").output)["name"] == TWO


def test_the_command_drains_resumes_and_stops_an_agent_elsewhere(shell: Shell, api: Api) -> None:
    drained = shell.run("agent", "drain", TWO, "--reason", "the disk is changed")
    assert drained.exit_code == 0, drained.output
    assert "1 bead" in drained.output
    assert api.ledger.get_agent(TWO).wish == "drain"
    assert "work" in shell.run("agent", "resume", TWO).output
    assert json.loads(shell.run("agent", "stop", TWO, "--json").output)["wish"] == "stop"
    nobody = shell.run("agent", "drain", "agent-shop@three")
    assert nobody.exit_code == 3
    assert "there is no agent agent-shop@three" in nobody.output


def test_silent_agents_are_forgotten_by_a_timer(api: Api) -> None:
    api.ledger.advance(90_000)
    assert silent.forget(api.ledger) is False
    assert api.get(AGENTS).get_json()["agents"] == []
