"""The pages of agents: who is there, what each runs, and what is wanted of it."""

from __future__ import annotations

from flask import Blueprint, Response, request

from loom.control.operation import Within, operation
from loom.control.pages import condition, frame
from loom.control.pages.desk import Desk
from loom.domain.presence import Agent, AgentState, project_of_agent
from loom.errors import Invalid, NotFound

ORDER = tuple(AgentState)


def routes(desk: Desk) -> Blueprint:
    """Show agents, and one of them."""
    agents = Blueprint("agent_pages", __name__)

    @agents.get("/agents")
    @operation("The page of agents", page=True, within=Within.SOME)
    def index() -> Response:
        chosen = {name: request.args.get(name, "") for name in ("project", "state")}
        mine = frame.mine(desk.agents(), of=lambda agent: agent.project_id)
        projects = frame.mine(desk.projects())
        manned = {agent.project_id for agent in mine if agent.state is not AgentState.STOPPED}
        return frame.page(
            "agents.html",
            agents=sorted((a for a in mine if _passes(a, chosen)), key=_place),
            all_=mine,
            crew=condition.crew(mine),
            projects=projects,
            without=[project.id for project in projects if project.id not in manned],
            states=ORDER,
            chosen=chosen,
        )

    @agents.get("/agents/<name>")
    @operation("The page of an agent", page=True, within=Within.AGENT)
    def show(name: str) -> Response:
        try:
            project_of_agent(name)
        except Invalid as error:
            raise NotFound(f"there is no such agent: {error.detail}") from error
        agent = desk.ledger.get_agent(name)
        beads = [desk.ledger.get_bead(running.bead_id) for running in agent.running[:50]]
        return frame.page("agent.html", agent=agent, beads=beads)

    return agents


def _passes(agent: Agent, chosen: dict[str, str]) -> bool:
    right_project = not chosen["project"] or agent.project_id == chosen["project"]
    return right_project and (not chosen["state"] or agent.state == chosen["state"])


def _place(agent: Agent) -> tuple[bool, str, str]:
    """Those that are there before those that said goodbye."""
    return agent.state is AgentState.STOPPED, agent.project_id, agent.name
