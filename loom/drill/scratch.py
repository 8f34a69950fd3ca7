"""A whole Loom of a drill's own: everything twice or thrice, and proxies on every way between."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from loom.clients.control import ControlClient
from loom.domain.project import Project
from loom.drill import cluster as nodes
from loom.drill import origin
from loom.drill import ports as free_ports
from loom.drill.cluster import NODES, Cluster
from loom.drill.fleet import AGENT, DATABASES, Fleet
from loom.drill.keeper import Keeper, children
from loom.drill.ports import ScratchPorts
from loom.drill.proxy import Proxies
from loom.drill.standby import POOLER, SERVERS, Replication
from loom.drill.volumes import Volumes
from loom.errors import Conflict, DeadlineExceeded, LoomError
from loom.messaging.topology import permission_of, permission_of_agent, task_key
from loom.settings import BrokerSettings, LedgerClientSettings
from loom.stack import (
    accounts,
    agent,
    binaries,
    credentials,
    lifecycle,
    probe,
    rabbitmq,
    reach,
    remains,
    render,
)
from loom.stack.home import Home, StackSettings, as_settings_file
from loom.stack.ports import HOST
from workers.limits import KEPT_FREE_BYTES, MIB

PROJECT = "drill"
UNGUARDED = "LOOM_DRILL_UNGUARDED"
TEST_COMMAND = ("git", "--version")
START_S, WELL_S = 120.0, 60.0
LOOK_EVERY_S = 0.1
BROKER_VOLUME_MB, LEDGER_VOLUME_MB = 384, 512
WORK_VOLUME_MB = 384 + KEPT_FREE_BYTES // MIB
"""Agents start no command on what they keep free."""
Overrides = Mapping[str, Mapping[str, str | int]]


class Scratch:
    """The stack in one folder, made at start and gone at stop; a context manager."""

    project = PROJECT

    def __init__(
        self, home: Path, base: int = 0, *, agents: int = 3, overrides: Overrides | None = None
    ) -> None:
        """base: the port to begin with; 0 for a free range. overrides: more settings by kind of
        service (database, control, dispatcher, ingester, engine, agent), as variables."""
        self.home = Home(home.absolute())
        self.proxies: Proxies
        self.keeper: Keeper
        self.cluster: Cluster
        self.ledger: Replication
        self.fleet: Fleet
        self.ports: ScratchPorts
        self.plan: render.Plan
        self.volumes = Volumes()
        self._base = base
        self._agents = agents
        self._overrides = overrides or {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Build everything and wait until all of it is well.

        Raises Unavailable when a program is missing here, DeadlineExceeded naming what is not
        well in time.
        """
        began = time.monotonic()
        programs = binaries.find()
        if left := remains.end(self.home, patience_s=0):
            raise Conflict(f"processes of an earlier drill do not end: {left}")
        self._clear()
        settings = StackSettings(home=str(self.home.path))
        who = accounts.of_this_process(settings.service_user, settings.agent_user)
        self.ports = free_ports.find(
            [
                *nodes.port_names(),
                *(*SERVERS, POOLER),
                *Fleet.port_names(self._agents),
                # Nobody listens there: a drill keeps no artifacts, and has no Flower.
                "connectors",
                "flower",
            ],
            self._base,
        )
        where = self.ports.seen_as(
            {
                "postgres": SERVERS[0],
                "database": DATABASES[0],
                "control": "control-1",
                "amqp": "rabbit-1.amqp",
                "management": "rabbit-1.management",
            }
        )
        self.plan = render.Plan(self.home, where, who, settings)
        render.lay_out(self.plan)
        name = agent.name_of(PROJECT)
        credentials.ensure(self.home, who, credentials.broker(name), credentials.ledger(name))
        migration = render.service_settings(self.plan)["migrate"]
        who.write(self.home.settings_file("migrate"), as_settings_file(migration), who.operator)
        who.folder(self.home.path / "nodes", who.operator, 0o711)
        origin.lay_out(self.repository, who)
        who.folder(self.effects, who.agent, 0o755)
        self.proxies = Proxies()
        self.keeper = Keeper(
            self.home,
            lifecycle.environment(self.home),
            reach.command(lifecycle.survey(self.plan)),
            switching=who.switching,
        )
        self.cluster = Cluster(self.plan, self.ports, self.keeper, programs)
        self.ledger = Replication(self.plan, self.ports, self.keeper, programs)
        self.fleet = Fleet(
            self.plan,
            self.ports,
            self.keeper,
            self.proxies,
            agents=self._agents,
            overrides=self._overrides,
        )
        self._lay_out_servers()
        self.cluster.start()
        self.ledger.start()
        lifecycle.migrate(self.home)
        self.fleet.lay_out(PROJECT, self.ledger.port())
        self.fleet.start_those_without_broker()
        self._await_cluster(began + START_S)
        self.fleet.start_those_on_the_broker()
        self._make_project(began + START_S)
        self.await_well(began + START_S - time.monotonic())

    def stop(self) -> None:
        """End every process, and remove all but the logs."""
        if hasattr(self, "keeper"):
            self.keeper.close()
        if hasattr(self, "proxies"):
            self.proxies.close()
        remains.end(self.home, patience_s=0)
        self.volumes.close()
        self._clear()

    @property
    def urls(self) -> tuple[str, ...]:
        """The control planes."""
        return tuple(f"http://{HOST}:{self.ports.of(name)}" for name in self.fleet.names("control"))

    @property
    def token(self) -> str:
        """What calls of the control planes carry."""
        return self.home.secret(credentials.API_TOKEN)

    @property
    def management_urls(self) -> list[str]:
        """RabbitMQ's management on each node; any that is up tells of all."""
        return [f"http://{HOST}:{self.ports.of(f'{node}.management')}" for node in NODES]

    @property
    def management_url(self) -> str:
        """RabbitMQ's management on the first node."""
        return self.management_urls[0]

    @property
    def management_login(self) -> tuple[str, str]:
        """Who may ask it: user and password."""
        return "operator", self.home.secret(credentials.broker("operator"))

    @property
    def repository(self) -> Path:
        """The bare repository of the drill's project."""
        return self.home.path / "repository.git"

    @property
    def effects(self) -> Path:
        """A folder that every command of a bead may write to."""
        return self.home.path / "effects"

    def ledger_settings(self, caller: str = "operator") -> LedgerClientSettings:
        """The database services, as one of their callers."""
        return LedgerClientSettings(
            target=self.fleet.target, token=self.home.secret(credentials.ledger(caller))
        )

    def broker_settings(self, user: str = "operator") -> BrokerSettings:
        """The nodes themselves, without a proxy, as one of Loom's users."""
        return BrokerSettings(
            hosts=",".join(f"{HOST}:{self.ports.of(f'{node}.amqp')}" for node in NODES),
            vhost=rabbitmq.VHOST,
            username=user,
            password=self.home.secret(credentials.broker(user)),
        )

    def processes(self) -> dict[str, int]:
        """Every process that is up, by name; an agent's pool as `agent-1/1`, `agent-1/2`, …"""
        role = {self.ledger.primary: "postgres-primary", self.ledger.standby: "postgres-standby"}
        found = {role.get(name, name): pid for name, pid in self.keeper.pids().items()}
        for name in self.fleet.names(AGENT):
            pool = children(found[name]) if name in found else []
            found |= {f"{name}/{number}": pid for number, pid in enumerate(pool, 1)}
        return found

    def unwell(self) -> list[str]:
        """What is not as it should be, in words; empty when all is well."""
        up = self.keeper.pids()
        faults = [f"{name} is down" for name in self.keeper.names() if name not in up]
        for name in self.fleet.names("control"):
            answer = probe.http(f"http://{HOST}:{self.ports.of(name)}/readyz")
            faults += [] if answer.well else [f"{name}: {answer.why}"]
        for name in self.fleet.names("database"):
            answer = probe.grpc_health(self.ports.of(name))
            faults += [] if answer.well else [f"{name}: {answer.why}"]
        if not self.ledger.in_step():
            faults.append("the standby is not in step with the primary")
        if not self.cluster.whole():
            together = sorted(self.cluster.together())
            faults.append(f"of the broker's nodes only {together} are together")
        faults += self.cluster.alarms()
        faults += self._idle_agents()
        return faults

    def healthy(self, timeout: float = WELL_S) -> bool:
        """Wait until all is well; False if that takes longer than timeout seconds."""
        deadline = time.monotonic() + timeout
        while self.unwell():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def await_well(self, timeout: float = WELL_S) -> None:
        """The same; raises DeadlineExceeded naming what is not well."""
        if not self.healthy(timeout) and (faults := self.unwell()):
            raise DeadlineExceeded(
                f"the scratch stack in {self.home.path} is not well: {'; '.join(faults)}"
            )

    def promote(self) -> None:
        """Let the standby take the place of a primary that is down, and lead everyone to it."""
        self.ledger.promote()
        self.proxies.lead(self.proxies.names(suffix=">primary"), self.ledger.port())

    def arm(self, process: str, variables: Mapping[str, str]) -> None:
        """Start the process anew with these variables of a drill; its next start is without them.

        Those that hold LOOM_DRILL_UNGUARDED stay until the process is armed with none.
        """
        plain = self.fleet.program(process)
        armed = replace(plain, environment={**plain.environment, **variables})
        self.keeper.replace(armed)
        self.keeper.restart(process)
        self.keeper.await_up(process)
        if UNGUARDED not in variables:
            self.keeper.replace(plain)

    def client(self, number: int = 0) -> ControlClient:
        """A client of one of the control planes."""
        return ControlClient(self.urls[number % len(self.urls)], self.token)

    def _idle_agents(self) -> list[str]:
        try:
            consumers = self.cluster.queue(task_key(PROJECT)).get("consumers", 0)
        except LoomError as error:
            return [error.detail]
        wanted = len(self.fleet.names(AGENT))
        # More stand there while the broker still believes in connections that are dead.
        return [] if consumers == wanted else [f"{consumers} of {wanted} agents take tasks"]

    def _clear(self) -> None:
        """Remove what an earlier drill left in the folder."""
        for name in ("nodes", "workspaces"):
            folder = self.home.path / name
            for place in (*folder.glob("*/data"), folder):
                Volumes.unmount_left(place)
        for name in ("nodes", "workspaces", "etc", "run", "data", "repository.git", "effects"):
            shutil.rmtree(self.home.path / name, ignore_errors=True)

    def _lay_out_servers(self) -> None:
        who, name = self.plan.accounts, agent.name_of(PROJECT)
        volumes = self.volumes
        for folders, owner, size in (
            (self.cluster.volumes(), who.rabbitmq, BROKER_VOLUME_MB),
            (self.ledger.volumes(), who.postgres, LEDGER_VOLUME_MB),
        ):
            for folder in folders:
                who.folder(folder, owner, 0o700)
                who.folder(folder.parent, owner, 0o700)
                volumes.mount(folder, size)
        volumes.mount(self.home.workspaces, WORK_VOLUME_MB)
        users = {user: permission_of(user) for user in credentials.BROKER_USERS}
        self.cluster.lay_out(users | {name: permission_of_agent(PROJECT)})
        self.ledger.lay_out()

    def _await_cluster(self, deadline: float) -> None:
        while not self.cluster.whole():
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"of the broker's nodes only {sorted(self.cluster.together())} are together; "
                    f"the logs are in {self.home.logs}"
                )
            time.sleep(LOOK_EVERY_S)

    def _make_project(self, deadline: float) -> None:
        project = Project(PROJECT, str(self.repository), "The drill", test_command=TEST_COMMAND)
        while True:
            try:
                with self.client() as client:
                    client.create_project(project, idempotency_key=PROJECT)
                return
            except LoomError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_EVERY_S)
