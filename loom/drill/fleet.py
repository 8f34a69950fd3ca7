"""Loom's own processes in a scratch stack: two of each service, and several agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loom.drill.cluster import NODES
from loom.drill.keeper import Keeper
from loom.drill.ports import ScratchPorts
from loom.drill.proxy import Proxies
from loom.drill.standby import POOLER
from loom.stack import agent, render, services
from loom.stack.home import as_settings_file
from loom.stack.ports import HOST
from loom.stack.program import Program

AGENT = "agent"
KINDS = ("database", "control", "dispatcher", "ingester", "engine")
DATABASES = ("database-1", "database-2")
PAIR = (1, 2)
ON_BROKER = ("dispatcher", "ingester", AGENT)
LEASE_S, OUTBOX_LEASE_S = 6, 6
HEARTBEAT_S, BROKER_TIMEOUT_S = 6, 6

TUNING: Mapping[str, Mapping[str, str | int]] = {
    # Short, so that a fault's end is seen in seconds; the mechanism is the same.
    "database": {
        "LOOM_DATABASE_LEASE_S": LEASE_S,
        "LOOM_DATABASE_OUTBOX_LEASE_S": OUTBOX_LEASE_S,
        "LOOM_DATABASE_POOL_SIZE": 6,
    },
    "dispatcher": {
        "LOOM_BROKER_HEARTBEAT_S": HEARTBEAT_S,
        "LOOM_BROKER_TIMEOUT_S": BROKER_TIMEOUT_S,
    },
    "ingester": {
        "LOOM_BROKER_HEARTBEAT_S": HEARTBEAT_S,
        "LOOM_BROKER_TIMEOUT_S": BROKER_TIMEOUT_S,
    },
    AGENT: {
        "LOOM_BROKER_HEARTBEAT_S": HEARTBEAT_S,
        "LOOM_BROKER_TIMEOUT_S": BROKER_TIMEOUT_S,
    },
}


class Fleet:
    """The processes, and the proxies by which they reach broker and database."""

    def __init__(
        self,
        plan: render.Plan,
        ports: ScratchPorts,
        keeper: Keeper,
        proxies: Proxies,
        *,
        agents: int,
        overrides: Mapping[str, Mapping[str, str | int]],
    ) -> None:
        self._plan, self._ports, self._keeper, self._proxies = plan, ports, keeper, proxies
        self._agents = agents
        self._overrides = overrides

    @staticmethod
    def names_of(agents: int) -> list[str]:
        """Every process's name, so many agents included."""
        pairs = [f"{kind}-{number}" for kind in KINDS for number in PAIR]
        return [*pairs, *(f"{AGENT}-{number}" for number in range(1, agents + 1))]

    @staticmethod
    def port_names(agents: int) -> list[str]:
        """The ports that they and their proxies need."""
        wanted = [f"{kind}-{number}" for kind in ("database", "control") for number in PAIR]
        for name in Fleet.names_of(agents):
            if kind_of(name) in ON_BROKER:
                wanted += [f"{name}>{node}" for node in NODES]
            if kind_of(name) == "database":
                wanted += [f"{name}>{POOLER}", f"{name}>primary"]
        return wanted

    @property
    def target(self) -> str:
        """The database services, as gRPC takes them."""
        return "ipv4:" + ",".join(f"{HOST}:{self._ports.of(name)}" for name in DATABASES)

    def names(self, kind: str = "") -> list[str]:
        """The processes of one kind, or all."""
        return [name for name in self.names_of(self._agents) if not kind or kind_of(name) == kind]

    def lay_out(self, project_id: str, primary: int) -> None:
        """Open the proxies, and write every process's settings. primary: PostgreSQL's port."""
        for name in self.names():
            if kind_of(name) in ON_BROKER:
                for node in NODES:
                    self._proxy(f"{name}>{node}", self._ports.of(f"{node}.amqp"))
            if kind_of(name) == "database":
                self._proxy(f"{name}>{POOLER}", self._ports.of(POOLER))
                self._proxy(f"{name}>primary", primary)
        common = render.service_settings(self._plan)
        who = self._plan.accounts
        caller = agent.name_of(project_id)
        common[AGENT] = {
            **render.ledger_settings(self._plan, caller),
            **render.broker_settings(self._plan, caller),
            "LOOM_AGENT_PROJECT": project_id,
            # Commands count their runs in a file outside of their workspace.
            "LOOM_AGENT_SANDBOX": "none",
        }
        for name in self.names():
            kind = kind_of(name)
            values = {**common[kind], **self._own(name), **TUNING.get(kind, {})}
            values |= self._overrides.get(kind, {})
            if kind == AGENT:
                folder = self._plan.home.workspaces / name
                for place in (folder, folder / "home", folder / "work"):
                    who.folder(place, who.agent, 0o700)
                values |= {"LOOM_AGENT_WORKSPACE": str(folder / "work")}
                values |= {"LOOM_AGENT_NAME": f"{caller}@{number_of(name)}"}
            owner = who.agent if kind == AGENT else who.service
            who.write(self._plan.home.settings_file(name), as_settings_file(values), owner)
        render.write_tokens(self._plan)

    def start_those_without_broker(self) -> None:
        """Start what needs the database alone."""
        self._start(kind for kind in KINDS if kind not in ON_BROKER)

    def start_those_on_the_broker(self) -> None:
        """Start the rest, once the broker's nodes have found each other: a node that joins a
        cluster forgets what was declared on it."""
        self._start(ON_BROKER)

    def ways(self, name: str) -> list[str]:
        """The names of the proxies by which the process reaches others."""
        return self._proxies.names(prefix=f"{name}>")

    def program(self, name: str) -> Program:
        """The process."""
        who, kind = self._plan.accounts, kind_of(name)
        settings = self._plan.home.settings_file(name)
        environment = services.settings_environment(settings)
        if kind == AGENT:
            environment["HOME"] = str(self._plan.home.workspaces / name / "home")
        return Program(
            name,
            services.python("workers" if kind == AGENT else f"loom.{kind}"),
            who.agent if kind == AGENT else who.service,
            environment,
            stop_wait_s=25,
        )

    def _start(self, kinds: Iterable[str]) -> None:
        wanted = set(kinds)
        for name in self.names():
            if kind_of(name) in wanted:
                self._keeper.add(self.program(name))

    def _proxy(self, name: str, upstream: int) -> None:
        self._proxies.add(name, self._ports.of(name), upstream)

    def _own(self, name: str) -> dict[str, str | int]:
        """What this one has of its own, beside its kind."""
        kind, number = kind_of(name), number_of(name)
        own: dict[str, str | int] = {"LOOM_INSTANCE": str(number)}
        if kind in ("database", "control"):
            own[f"LOOM_{kind.upper()}_LISTEN"] = f"{HOST}:{self._ports.of(name)}"
        if kind == "database":
            own["LOOM_DATABASE_PORT"] = self._ports.of(f"{name}>{POOLER}")
            own["LOOM_DATABASE_DIRECT_PORT"] = self._ports.of(f"{name}>primary")
        else:
            own["LOOM_LEDGER_TARGET"] = self.target
        if kind in ON_BROKER:
            # Each begins with another node, so that the work is spread.
            first = number % len(NODES)
            turned = (*NODES[first:], *NODES[:first])
            own["LOOM_BROKER_HOSTS"] = ",".join(
                f"{HOST}:{self._ports.of(f'{name}>{node}')}" for node in turned
            )
        return own


def kind_of(name: str) -> str:
    """`dispatcher` for dispatcher-2."""
    return name.rpartition("-")[0]


def number_of(name: str) -> int:
    """2 for dispatcher-2."""
    return int(name.rpartition("-")[2])
