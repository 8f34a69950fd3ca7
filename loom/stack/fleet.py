"""The process `fleet` of a stack: sees to it that each project has the agents that are wanted.

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
from loom.stack import accounts, agent, posts, render, roster
from loom.stack.home import Home, StackSettings
from loom.stack.management import Management
from loom.stack.ports import Ports
from loom.stack.posts import Post
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
        self._served: dict[str, Post] = {}

    def look(self) -> list[str]:
        """Start each agent that is wanted and not there; the names of those that were started.

        Raises Unavailable when a part that is needed does not answer: look again.
        """
        fresh = []
        project_ids = roster.project_ids(self._plan.home, self._ports)
        for post in posts.wanted(project_ids, posts.recorded(self._plan.home)):
            if self._served.get(post.program) == post:
                continue
            if post.stopped:
                if self._has_left(post):
                    self._served[post.program] = post
                continue
            agent.equip(self._plan, post.project_id, post)
            agent.admit(self._plan, self._broker, post.project_id)
            agent.enlist(self._plan, post)
            self._supervisor.take_over(post.program)
            self._supervisor.see_running(post.program)
            self._served[post.program] = post
            fresh.append(post.program)
        return fresh

    def _has_left(self, post: Post) -> bool:
        """Forget an agent that was asked to stop, once it has ended by itself; whether it has."""
        known = {process.name: process for process in self._supervisor.processes()}
        if post.program in known and known[post.program].pid:
            return False
        agent.discharge(self._plan, post)
        if post.program in known:
            self._supervisor.take_out(post.program)
        log.info("agent_left", agent=post.program)
        return True


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
        for program in wait_for("the control plane and the broker", fleet.look, stopping):
            log.info("agent_started", agent=program)
        stopping.wait(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
