"""Agents as the HTTP API's JSON, and back; and the calls of the API about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from loom.clients.answers import Page
from loom.clients.representation import API, bead_path, time_to_json
from loom.domain.presence import Agent, AgentState, AgentWish, RunningBead

AGENTS = f"{API}/agents"
ACTS = {"drain": AgentWish.DRAIN, "resume": AgentWish.WORK, "stop": AgentWish.STOP}
"""What a person may do to an agent, and the wish that it is."""


def agent_path(name: str) -> str:
    """The path of one agent."""
    return f"{AGENTS}/{name}"


def agent_to_json(agent: Agent) -> dict[str, Any]:
    """An agent as the ledger knows it."""
    return {
        "name": agent.name,
        "project_id": agent.project_id,
        "state": agent.state.value,
        "wish": agent.wish.value,
        "since": time_to_json(agent.since),
        "running": [
            {"bead_id": bead.bead_id, "epoch": bead.epoch, "link": bead_path(bead.bead_id)}
            for bead in agent.running
        ],
        "concurrency": agent.concurrency,
        "consuming": agent.consuming,
        "host": agent.host,
        "pid": agent.pid,
        "load": agent.load,
        "disk_free": agent.disk_free,
        "versions": dict(agent.versions),
        "tools": dict(agent.tools),
        "started_at": time_to_json(agent.started_at),
        "last_seen": time_to_json(agent.last_seen),
        "silent_s": round(agent.silent_s, 3),
        "links": {"self": agent_path(agent.name)}
        | {act: f"{agent_path(agent.name)}/{act}" for act in ACTS},
    }


def agent_from_json(document: Mapping[str, Any]) -> Agent:
    """An agent as the ledger knows it."""
    return Agent(
        name=document["name"],
        project_id=document["project_id"],
        state=AgentState(document["state"]),
        wish=AgentWish(document["wish"]),
        host=document["host"],
        pid=document["pid"],
        versions=document["versions"],
        tools=document["tools"],
        concurrency=document["concurrency"],
        running=tuple(RunningBead(b["bead_id"], b["epoch"]) for b in document["running"]),
        consuming=document["consuming"],
        load=document["load"],
        disk_free=document["disk_free"],
        started_at=datetime.fromisoformat(document["started_at"]),
        last_seen=datetime.fromisoformat(document["last_seen"]),
        since=datetime.fromisoformat(document["since"]),
        silent_s=document["silent_s"],
    )


class AgentCalls:
    """Calls on agents; ControlClient has the others."""

    _get: Callable[..., Any]
    _post: Callable[..., Any]

    def list_agents(
        self, project_id: str = "", state: AgentState | None = None, limit: int = 50,
        cursor: str = "",
    ) -> Page[Agent]:  # fmt: skip
        """Agents in the order of their names."""
        wanted = state.value if state else ""
        page = self._get(AGENTS, project=project_id, state=wanted, limit=limit, cursor=cursor)
        return Page(tuple(map(agent_from_json, page["agents"])), page["next_cursor"] or "")

    def get_agent(self, name: str) -> Agent:
        """One agent. Raises NotFound."""
        return agent_from_json(self._get(agent_path(name)))

    def steer_agent(self, name: str, act: str, reason: str) -> Agent:
        """Drain, resume or stop an agent; it as it is then. Raises NotFound."""
        return agent_from_json(
            self._post(f"{agent_path(name)}/{act}", {"reason": reason}, "").json()
        )
