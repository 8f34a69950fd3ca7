"""The page of queues: what stands in each, what the ledger owes, and whether both agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.presence import AgentState
from loom.domain.reconciliation import Depth
from loom.domain.statistics import ProjectFlow
from loom.messaging.topology import (
    DEAD_LEDGER_QUEUE,
    DEAD_RESULTS_QUEUE,
    LOG_LINES_QUEUE,
    RESULTS_QUEUE,
    UNROUTED_QUEUE,
    dead_key,
    task_key,
)

GONE = frozenset({AgentState.LOST, AgentState.STOPPED})
OWN = {
    RESULTS_QUEUE: "reports of agents, on their way to the ledger",
    DEAD_RESULTS_QUEUE: "reports that no ingester can read",
    DEAD_LEDGER_QUEUE: "a copy of every dead letter, on its way to the ledger",
    LOG_LINES_QUEUE: "lines of running attempts, on their way to the ledger",
    UNROUTED_QUEUE: "messages that no binding takes: there should be none",
}
"""Loom's own queues, and what each is for."""


@dataclass(frozen=True, slots=True)
class Line:
    """The queues of one project. None: nobody says. agents: how many take from it."""

    project_id: str
    tasks: Depth | None
    dead: Depth | None
    flow: ProjectFlow
    agents: int


def routes(desk: Desk) -> Blueprint:
    """Show the queues."""
    queues = Blueprint("queue_pages", __name__)

    @queues.get("/queues")
    @operation("The page of queues", page=True, within=Within.SOME)
    def index() -> Response:
        stand = desk.queues()
        scope = visible.scope()
        flow = desk.counted.flow(scope)
        living = [agent.project_id for agent in desk.agents() if agent.state not in GONE]
        lines = [
            Line(
                project.id,
                stand.depths.get(task_key(project.id)),
                stand.depths.get(dead_key(project.id)),
                flow.of(project.id),
                living.count(project.id),
            )
            for project in frame.mine(desk.projects())
        ]
        return frame.page(
            "queues.html",
            lines=lines,
            own=[] if scope else _own(stand.depths),
            missing=[
                depth.queue
                for line in lines
                for depth in (line.tasks, line.dead)
                if depth and depth.missing
            ],
            why=stand.why,
            flow=flow,
            total=flow.total(),
            unaccounted=None if scope else desk.unaccounted(),
            broker_page=desk.links.queue,
        )

    return queues


def _own(depths: Mapping[str, Depth]) -> list[tuple[Depth, str]]:
    return [(depths[name], what) for name, what in OWN.items() if name in depths]
