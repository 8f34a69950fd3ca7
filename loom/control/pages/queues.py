"""The page of queues: what stands in each, what the ledger owes, and whether both agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import condition, frame
from loom.control.pages.desk import Desk
from loom.domain.broker import Traffic
from loom.domain.presence import Agent, AgentState
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
TAKING = frozenset({AgentState.ALIVE, AgentState.BUSY})
"""Agents that take from their queue; one that drains takes nothing."""
FINE = frozenset({"running", "idle", "flow"})
"""States of a queue with which nothing is wrong; flow: a publisher is slowed down for a moment."""
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
    """The queues of one project. None: nobody says. agents: that are there, by name.

    odd: why the broker's consumers and the agents are not as many, in words.
    """

    project_id: str
    tasks: Depth | None
    dead: Depth | None
    flow: ProjectFlow
    agents: tuple[str, ...]
    traffic: Traffic | None = None
    dead_traffic: Traffic | None = None
    odd: str = ""


def routes(desk: Desk) -> Blueprint:
    """Show the queues."""
    queues = Blueprint("queue_pages", __name__)

    @queues.get("/queues")
    @operation("The page of queues", page=True, within=Within.SOME)
    def index() -> Response:
        stand = desk.queues()
        scope = visible.scope()
        flow = desk.counted.flow(scope)
        broker = desk.broker()

        def line(project_id: str) -> Line:
            agents = [agent for agent in desk.agents() if agent.project_id == project_id]
            traffic = broker.queues.get(task_key(project_id))
            return Line(
                project_id,
                stand.depths.get(task_key(project_id)),
                stand.depths.get(dead_key(project_id)),
                flow.of(project_id),
                tuple(agent.name for agent in agents if agent.state not in GONE),
                traffic,
                broker.queues.get(dead_key(project_id)),
                odd(traffic, agents),
            )

        lines = [line(project.id) for project in frame.mine(desk.projects())]
        return frame.page(
            "queues.html",
            lines=lines,
            broker=broker,
            alarms=condition.alarms(broker),
            ill=[
                each
                for name, each in broker.queues.items()
                if not scope and name.startswith("loom.") and ailing(each)
            ],
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
        )

    return queues


def odd(traffic: Traffic | None, agents: Sequence[Agent]) -> str:
    """Why so many consumers and so many agents; empty where both agree, or nobody counts."""
    if traffic is None or traffic.consumers is None:
        return ""
    there = sum(agent.state not in GONE for agent in agents)
    taking = sum(agent.state in TAKING for agent in agents)
    if traffic.consumers > there:
        return (
            "Somebody takes beads of it whom Loom does not know: an agent that has not reported "
            "yet, one that is lost and still connected, or a worker started by hand. The queue's "
            "page on RabbitMQ names each consumer's host."
        )
    if traffic.consumers < taking:
        return (
            "Not every agent that reports takes from the queue: one is connecting anew, or lost "
            "its connection to the broker. Its log says which; the count is up to 10 s old."
        )
    return ""


def ailing(traffic: Traffic) -> bool:
    """Whether the broker says that something is wrong with a queue."""
    return traffic.state not in FINE or traffic.online < traffic.members


def _own(depths: Mapping[str, Depth]) -> list[tuple[Depth, str]]:
    return [(depths[name], what) for name, what in OWN.items() if name in depths]
