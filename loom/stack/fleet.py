"""The process `fleet` of a stack: sees to it that each project has an agent.

Run as `python -m loom.stack.fleet`. It knows nothing that it could lose: what a project's agent
needs is made again as often as it is looked at, and making it twice changes nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from loom.errors import LoomError
from loom.settings import ServiceSettings, load
from loom.stack import accounts, agent, render, roster
from loom.stack.home import Home, StackSettings
from loom.stack.management import Management
from loom.stack.ports import Ports
from loom.stack.supervisor import Supervisor
from loom.telemetry import logs
from loom.telemetry.process import Stopped, start, wait_for

LOOK_EVERY_S = 1.0

log = logs.get(__name__)


class Fleet:
    """The agents of one stack."""

    def __init__(self, plan: render.Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._broker = Management(plan.home, ports)
        self._supervisor = Supervisor(plan.home, ports)
        self._served: set[str] = set()

    def look(self) -> list[str]:
        """Start an agent for each project that has none; the projects that got one.

        Raises Unavailable when a part that is needed does not answer: look again.
        """
        fresh = []
        for project_id in roster.project_ids(self._plan.home, self._ports):
            if project_id in self._served:
                continue
            agent.equip(self._plan, project_id)
            agent.admit(self._plan, self._broker, project_id)
            agent.enlist(self._plan, project_id)
            self._supervisor.take_over(agent.name_of(project_id))
            self._served.add(project_id)
            fresh.append(project_id)
        return fresh


def main() -> int:
    """Look after the agents until asked to stop."""
    stopping = start("fleet", load(ServiceSettings))
    try:
        home = Home(Path(os.environ["LOOM_HOME"]))
        settings = load(StackSettings)
        who = accounts.of_this_process(settings.service_user, settings.agent_user)
        plan = render.Plan(home, home.ports(), who, settings)
        tend(Fleet(plan, home.ports()), stopping)
    except Stopped:
        return 0
    except LoomError as error:
        log.error("fleet_failed", code=error.code, why=error.detail)
        return 1
    return 0


def tend(fleet: Fleet, stopping: threading.Event) -> None:
    """Look every second; while a part is away, wait for it with backoff, saying so."""
    while not stopping.is_set():
        for project_id in wait_for("the control plane and the broker", fleet.look, stopping):
            log.info("agent_started", project_id=project_id)
        stopping.wait(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
