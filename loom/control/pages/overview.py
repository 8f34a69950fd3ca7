"""The overview: what needs somebody, the trip as it is now, and how the last hours went."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Response, request

from loom.control import visible
from loom.control.fresh import Fresh
from loom.control.pages import condition, frame, picture
from loom.control.pages.desk import Desk
from loom.domain.event import EventFilter, EventLine
from loom.domain.presence import AgentState

GONE = frozenset({AgentState.LOST, AgentState.STOPPED})
LATELY, LATELY_S = 8, 1.0
"""How many events are shown, and for how long they serve everybody who looks."""
WINDOWS = {"hour": (3_600, 60), "day": (86_400, 96), "week": (7 * 86_400, 84)}
"""Seconds, and into how many parts the plots divide them."""


def view(desk: Desk) -> Callable[[], Response]:
    """The view of the overview."""

    def lately(scope: tuple[str, ...]) -> Sequence[EventLine]:
        wanted = EventFilter(projects=frozenset(scope) or None)
        return desk.ledger.list_events(wanted, None, LATELY, newest_first=True).events

    of_all = Fresh(LATELY_S, lambda: lately(()))

    def overview() -> Response:
        scope = visible.scope()
        projects = frame.mine(desk.projects())
        flow = desk.counted.flow(scope)
        agents = frame.mine(desk.agents(), of=lambda agent: agent.project_id)
        stands = condition.broker(desk.queues(), [project.id for project in projects])
        crew = condition.crew(agents)
        away, alarms = desk.away(), condition.alarms(desk.broker())
        hops = condition.hops(flow, stands, crew, away, alarms)
        window = request.args.get("window", "hour")
        total = flow.total()
        return frame.page(
            "overview.html",
            projects=projects,
            flow=flow,
            total=total,
            crew=crew,
            alarms=alarms,
            needs=condition.needs(
                flow, stands, crew, projects, parts_away=away,
                unaccounted=0 if scope else desk.unaccounted(),
                living=[agent.project_id for agent in agents if agent.state not in GONE],
            ),
            events=lately(scope) if scope else of_all.get(),
            pictures=(picture.wide(hops, total), picture.tall(hops, total)),
            window=window if window in WINDOWS else "hour",
            windows=WINDOWS,
        )  # fmt: skip

    return overview
