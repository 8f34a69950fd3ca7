"""The pages of projects: how each goes, what it is set to, and what its last attempts ran."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flask import Blueprint, Response

from loom.clients.comments import Subject
from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import condition, frame
from loom.control.pages.desk import Desk
from loom.control.projects import known_form
from loom.domain.access import Role
from loom.domain.bead import Attempt, Bead
from loom.domain.lifecycle import State
from loom.domain.presence import Agent, AgentState
from loom.domain.project import Project, ProjectState
from loom.domain.rules import Network, Strategy
from loom.domain.statistics import ProjectFlow
from loom.messaging.topology import dead_key, task_key

SHOWN = 8
"""Beads that the page of a project shows."""
LOOKED_AT = 3
"""Beads that ended last, whose attempts may say what the recipe was."""
COMMENTS = 100
GONE = frozenset({AgentState.LOST, AgentState.STOPPED})
STILL = {
    ProjectState.PAUSED: "It is paused: nothing starts until it is resumed. What runs goes on to "
    "its end.",
    ProjectState.CLOSED: "It is closed: it takes no beads, and nothing starts until it is "
    "reopened.",
    ProjectState.DRAINING: "It is draining: what was begun is finished, and nothing else is begun.",
}
PROTOCOLS = ("file", "git", "http", "https", "ssh")


def routes(desk: Desk) -> Blueprint:
    """Show projects, one of them, and the form that makes one."""
    projects = Blueprint("project_pages", __name__)

    @projects.get("/projects")
    @operation("The page of projects", page=True, within=Within.SOME)
    def index() -> Response:
        mine = frame.mine(desk.projects())
        flow = desk.counted.flow(visible.scope())
        queues = desk.queues()
        rows = [
            (project, flow.of(project.id), _living(desk.agents(), project.id),
             queues.depths.get(task_key(project.id)))
            for project in mine
        ]  # fmt: skip
        return frame.page("projects.html", rows=rows, unread=queues.why)

    @projects.get("/projects/new")
    @operation(
        "The page that makes a project", page=True, needs=Role.ADMIN, within=Within.ALL
    )  # fmt: skip
    def new() -> Response:
        return frame.page("project_new.html")

    @projects.get("/projects/<project_id>")
    @operation("The page of a project", page=True, within=Within.PROJECT)
    def show(project_id: str) -> Response:
        project = desk.ledger.get_project(known_form(project_id))
        flow = desk.counted.flow((project.id,)).of(project.id)
        agents = [agent for agent in desk.agents() if agent.project_id == project.id]
        queues = desk.queues()
        said = desk.ledger.list_comments(Subject(project_id=project.id), page_size=COMMENTS)
        return frame.page(
            "project.html",
            project=project,
            flow=flow,
            agents=sorted(agents, key=lambda agent: (agent.state in GONE, agent.name)),
            crew=condition.crew(agents),
            queues=queues,
            tasks=queues.depths.get(task_key(project.id)),
            dead=queues.depths.get(dead_key(project.id)),
            still=still(project, flow, _living(agents, project.id)),
            beads=desk.ledger.list_beads(project.id, page_size=SHOWN).items,
            ran=_last_run(project.id),
            comments=said.items,
            networks=tuple(Network),
            strategies=tuple(Strategy),
            protocols=PROTOCOLS,
            recipe_text=json.dumps(dict(project.rules.recipe), indent=2, ensure_ascii=False),
        )

    def _last_run(project_id: str) -> tuple[Bead, Attempt] | None:
        """The newest attempt that left evidence, of the beads that ended last."""
        ended = desk.ledger.list_beads(project_id, (State.CLOSED.value,), page_size=LOOKED_AT)
        for bead in ended.items:
            for attempt in reversed(desk.ledger.list_attempts(bead.id)):
                if attempt.steps:
                    return bead, attempt
        return None

    return projects


def still(project: Project, flow: ProjectFlow, agents: int) -> str:
    """Why nothing of the project starts, in words; empty where something may."""
    if project.state in STILL:
        return STILL[project.state]
    if not agents:
        return "No agent works for it: its beads wait until one does."
    if project.max_in_progress and flow.in_progress >= project.max_in_progress:
        return (
            f"{flow.in_progress} of its beads are in progress, and its cap is "
            f"{project.max_in_progress}: the next starts when one of them ends."
        )
    if flow.open and flow.held and flow.held >= flow.open:
        return "Every open bead waits for a time or for another bead."
    return ""


def _living(agents: Sequence[Agent], project_id: str) -> int:
    """How many agents of the project are there."""
    return sum(agent.project_id == project_id and agent.state not in GONE for agent in agents)
