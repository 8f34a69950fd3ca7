"""The routes of agents: who is there, and what is wanted of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flask import Blueprint, Response, jsonify, request

from loom.clients.agents import ACTS, agent_to_json
from loom.clients.answers import Page
from loom.control.answers.agents import AgentOut, AgentPageOut
from loom.control.operation import Within, operation
from loom.control.requests.reading import read_query
from loom.control.requests.steering import AgentQuery, ReasonIn
from loom.control.steering import reason_in_body
from loom.domain.access import Role
from loom.domain.audit import Intervention
from loom.domain.presence import Agent, AgentState, AgentWish, project_of_agent
from loom.errors import Invalid, NotFound
from loom.telemetry import logs

log = logs.get(__name__)


class Agents(Protocol):
    """The calls of loom.clients.presence.PresenceCalls that the API stands on."""

    def get_agent(self, name: str) -> Agent:
        """One agent."""

    def list_agents(
        self, project_id: str = "", state: AgentState | None = None, page_size: int = 100,
        cursor: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[Agent]:  # fmt: skip
        """Agents in the order of their names."""

    def steer_agent(self, name: str, wish: AgentWish, by: Intervention) -> Agent:
        """Want something of an agent."""


def routes(ledger: Agents) -> Blueprint:
    """List agents, show one, drain it, resume it, stop it."""
    agents = Blueprint("agents", __name__)

    @agents.get("/agents")
    @operation("List agents by their names", query=AgentQuery, answers={200: AgentPageOut})
    def list_all() -> Response:
        query = read_query(AgentQuery, request.args.to_dict(flat=False))
        page = ledger.list_agents(query.project, query.state, query.limit, query.cursor)
        return jsonify(
            {
                "agents": [agent_to_json(agent) for agent in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @agents.get("/agents/<name>")
    @operation("Show an agent", within=Within.AGENT, answers={200: AgentOut})
    def show(name: str) -> Response:
        return jsonify(agent_to_json(ledger.get_agent(_known_form(name))))

    @agents.post("/agents/<name>/<any(drain, resume, stop):act>")
    @operation(
        "Drain, resume or stop an agent", needs=Role.OPERATOR, within=Within.AGENT,
        body=ReasonIn, answers={200: AgentOut},
    )  # fmt: skip
    def steer(name: str, act: str) -> Response:
        agent = ledger.steer_agent(_known_form(name), ACTS[act], reason_in_body())
        log.info("agent_steered", agent_id=name, wish=agent.wish.value)
        return jsonify(agent_to_json(agent))

    return agents


def _known_form(name: str) -> str:
    """The name from a path; raises NotFound if no agent can have it."""
    try:
        project_of_agent(name)
    except Invalid as error:
        raise NotFound(f"there is no such agent: {error.detail}") from error
    return name
