"""A stack's life: up and down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from loom.errors import Conflict, DeadlineExceeded, Unavailable
from loom.stack import accounts, binaries, holder, postgres, reach, remains, render, services
from loom.stack import supervisor as supervisord
from loom.stack.home import Home, StackSettings
from loom.stack.observe import Observer, Service
from loom.stack.ports import Ports
from loom.stack.supervisor import Supervisor

PATIENCE_S = 120.0
"""Seconds that a whole stack may take to come up on a slow machine."""
STEP_S = 0.25


@dataclass(frozen=True, slots=True)
class Started:
    """What `up` did. changed: the processes that were started or restarted by it."""

    was_running: bool
    changed: tuple[str, ...]
    services: tuple[Service, ...]


class Stack:
    """The stack of one home on one range of ports."""

    def __init__(self, home: Home, ports: Ports, settings: StackSettings | None = None) -> None:
        self.home = home
        self.ports = ports
        self._settings = settings or StackSettings()
        self.supervisor = Supervisor(home, ports)

    def up(
        self,
        only: Collection[str] = (),
        patience_s: float = PATIENCE_S,
        show: Callable[[list[Service]], None] = lambda services: None,
    ) -> Started:
        """Bring the stack up, or bring what runs up to date, and wait until all of it is healthy.

        only: the names of the services wanted; all if empty. show: called with every service's
        state as it changes. Raises Conflict if a port is taken, DeadlineExceeded naming what is
        not healthy in time, Unavailable if something is missing here.
        """
        plan, programs_here = self.plan(), binaries.find()
        was_running = bool(self.supervisor.pid)
        if was_running and self.home.ports() != self.ports:
            raise Conflict(
                f"the stack in {self.home.path} runs at base {self.home.ports().base}: "
                f"`loom down` first, then start it at {self.ports.base}"
            )
        if not was_running:
            if left := remains.end(self.home, patience_s=20):
                raise Conflict(f"processes of an earlier start do not end: {left}")
            holder.check_free(self.ports, "make up")
        render.lay_out(plan)
        self.home.remember(self.ports)
        render.write_all(plan)
        programs = [
            p
            for p in services.programs(plan, programs_here, self.ports)
            if not only or p.name in only
        ]
        plan.accounts.write(
            self.home.supervisor_config,
            supervisord.config(
                self.home,
                self.ports,
                self.home.secret("supervisor-password"),
                programs,
                switching=plan.accounts.switching,
            ),
            plan.accounts.operator,
        )
        if was_running:
            changed = [*self.supervisor.update(), *self.supervisor.start_stopped()]
        else:
            self.supervisor.start(environment(self.home), reach.command(survey(plan)))
            changed = [program.name for program in programs]
        deadline = time.monotonic() + patience_s
        names = [program.name for program in programs]
        self._await({"postgres"} & set(names), deadline, show)
        if "postgres" in names:
            postgres.make_roles(programs_here, self.ports, plan.role_passwords())
        if not only or "database" in only:
            self.migrate()
        return Started(was_running, tuple(changed), tuple(self._await(names, deadline, show)))

    def down(self) -> int:
        """End every process of the stack; how many ran. Raises Unavailable if one stays."""
        running = len(remains.of(self.home))
        if pid := self.supervisor.pid:
            self._stop_in_order()
            try:
                self.supervisor.shutdown()
            except Unavailable:
                self.supervisor.terminate()
            deadline = time.monotonic() + 10
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        if left := remains.end(self.home, patience_s=5):
            pids = ", ".join(f"{process.pid} ({process.command})" for process in left)
            raise Unavailable(f"these processes of {self.home.path} do not end: {pids}")
        return running

    def kill(self) -> None:
        """End every process at once, without order: for data that nobody needs any more."""
        if pid := self.supervisor.pid:
            os.kill(pid, signal.SIGKILL)
        remains.end(self.home, patience_s=0)

    def plan(self) -> render.Plan:
        """What decides how this stack looks."""
        who = accounts.of_this_process(self._settings.service_user, self._settings.agent_user)
        return render.Plan(self.home, self.ports, who, self._settings)

    def migrate(self) -> None:
        """Bring the schema to its head; raises Unavailable with the migration's words."""
        migrate(self.home)

    def _stop_in_order(self) -> None:
        """Loom's own services first, all at once, then what they stand on, then epmd."""
        try:
            names = {process.name for process in self.supervisor.processes()}
            for wave in (1, 2, 3):
                self.supervisor.stop_all({name for name in names if _wave(name) == wave})
        except Unavailable:
            self.supervisor.terminate()

    def _await(
        self, names: Collection[str], deadline: float, show: Callable[[list[Service]], None]
    ) -> list[Service]:
        """Wait until each of the services is healthy; the state of all."""
        observer = Observer(self.home, self.ports)
        while True:
            seen = observer.look()
            show(seen)
            waiting = [s for s in seen if s.name in names and s.state != "running"]
            if not waiting and {service.name for service in seen}.issuperset(names):
                return seen
            if time.monotonic() > deadline:
                raise DeadlineExceeded(observer.explain(waiting))
            if not self.supervisor.pid:
                raise Unavailable(
                    f"supervisord ended by itself; its log is {self.home.log('supervisord')}"
                )
            time.sleep(STEP_S)


def migrate(home: Home) -> None:
    """Bring the schema of the home's database to its head; raises Unavailable with the words."""
    answer = subprocess.run(
        services.python("loom.database.migrate"),
        env=environment(home) | services.settings_environment(home.settings_file("migrate")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if answer.returncode:
        raise Unavailable(
            "the database schema was not brought up to date: "
            f"{(answer.stdout + answer.stderr).strip()[-3000:]}"
        )


def survey(plan: render.Plan) -> reach.Reach:
    """What keeps the services' users from the code, the interpreter and the home."""
    if not plan.accounts.switching:
        return reach.Reach()
    root = render.ROOT
    needed = [
        plan.home.path,
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(sys.executable),
        *(root / part for part in ("loom", "workers", "migrations", "celeryconfig.py")),
    ]
    return reach.survey(path for path in needed if path.exists())


def _wave(name: str) -> int:
    """When a process stops: the port mapper last, as RabbitMQ takes leave of it."""
    if name not in services.INFRASTRUCTURE:
        return 1
    return 3 if name == "epmd" else 2


def environment(home: Home) -> dict[str, str]:
    """What every process of the stack starts with: no secret, and nothing of the caller's."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(home.run),
        "PYTHONPATH": str(render.ROOT),
        "PYTHONUNBUFFERED": "1",
        "LOOM_HOME": str(home.path),
        "LOOM_STACK": str(home.path),
    } | {key: value for key in ("TZ",) if (value := os.environ.get(key))}
