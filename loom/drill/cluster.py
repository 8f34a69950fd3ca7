"""Three RabbitMQ nodes in one cluster: how they are made, asked, cut apart and mended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from loom.drill.keeper import Keeper
from loom.drill.ports import ScratchPorts
from loom.errors import NotFound, Unavailable
from loom.messaging.topology import Permission
from loom.stack import credentials, rabbitmq, render
from loom.stack.binaries import Binaries
from loom.stack.home import Home
from loom.stack.management import Management
from loom.stack.program import Program

NODES = ("rabbit-1", "rabbit-2", "rabbit-3")
NODE_PORTS = ("amqp", "management", "broker-metrics", "broker-dist")
TUNING = {
    # Below what a volume of a drill holds, so that only a fault raises the alarm.
    "disk_free_limit.absolute = 512MB": "disk_free_limit.absolute = 16MB",
    # What the management tells is then a second old, and a drill waits for it.
    "collect_statistics_interval = 5000": "collect_statistics_interval = 1000",
}
"""Lines of the stack's configuration, and what a drill has in their place."""


def port_names() -> list[str]:
    """The ports that the cluster needs."""
    return ["epmd", *(f"{node}.{name}" for node in NODES for name in NODE_PORTS)]


def erlang_name(node: str) -> str:
    """The node's name in Erlang: `rabbit-1` is loom-1@localhost."""
    return f"loom-{node.removeprefix('rabbit-')}@localhost"


def plain_name(erlang: str) -> str:
    """The name that erlang_name() made that of."""
    return f"rabbit-{erlang.partition('@')[0].removeprefix('loom-')}"


class Cluster:
    """The nodes of one scratch stack."""

    def __init__(
        self, plan: render.Plan, ports: ScratchPorts, keeper: Keeper, programs: Binaries
    ) -> None:
        self._plan, self._ports, self._keeper, self._programs = plan, ports, keeper, programs

    def home(self, node: str) -> Home:
        """The folder of one node."""
        return Home(self._plan.home.path / "nodes" / node)

    def lay_out(self, permissions: Mapping[str, Permission]) -> None:
        """Write what the nodes read. permissions: of every user."""
        who, secret = self._plan.accounts, self._plan.home.secret
        users = {user: secret(credentials.broker(user)) for user in permissions}
        for node in NODES:
            home = self.home(node)
            who.folder(home.path, who.rabbitmq, 0o700)
            who.folder(home.etc, who.rabbitmq, 0o700)
            who.folder(home.rabbitmq, who.rabbitmq, 0o700)
            files = {
                home.etc / "rabbitmq.conf": self._config(node),
                home.etc / "rabbitmq-plugins": rabbitmq.enabled_plugins(),
                home.etc / "rabbitmq-definitions.json": rabbitmq.definitions(users, permissions),
                home.rabbitmq / ".erlang.cookie": secret(credentials.COOKIE),
            }
            for file, text in files.items():
                who.write(file, text, who.rabbitmq, 0o400)

    def start(self) -> None:
        """Start the nodes; they find each other."""
        who = self._plan.accounts.rabbitmq
        mapper = rabbitmq.epmd_command(self._programs, self._ports)
        self._keeper.add(Program("epmd", mapper, who, stop_wait_s=5))
        for node in NODES:
            command = rabbitmq.server_command(self._programs)
            self._keeper.add(Program(node, command, who, self.environment(node), stop_wait_s=40))

    def environment(self, node: str) -> dict[str, str]:
        """What the node and its tools start with."""
        made = rabbitmq.environment(self.home(node), self._seen(node), erlang_name(node))
        # Three nodes share few cores with all else: an idle scheduler must not spin.
        frugal = " +S 1:1 +SDcpu 1:1 +SDio 4 +sbwt none +sbwtdcpu none +sbwtdio none"
        made["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += frugal
        return made

    def api(self, node: str) -> Management:
        """The management API of one node."""
        return Management(self._plan.home, self._seen(node))

    def together(self) -> set[str]:
        """The nodes that run, as one of them sees it that belongs to the most."""
        views = [self._view(node) for node in NODES]
        return max(views, key=len)

    def whole(self) -> bool:
        """Every node sees every other run, and none has an alarm."""
        return all(self._view(node) == set(NODES) for node in NODES)

    def alarms(self) -> list[str]:
        """What the nodes complain of, in words."""
        found: list[str] = []
        for node in NODES:
            try:
                for row in self.api(node).nodes():
                    name = plain_name(row["name"])
                    found += [f"{name}: memory"] if row.get("mem_alarm") else []
                    found += [f"{name}: disk"] if row.get("disk_free_alarm") else []
                    found += [f"{name}: partition"] if row.get("partitions") else []
                return found
            except Unavailable:
                continue
        return ["no node answers"]

    def queue(self, name: str) -> dict[str, object]:
        """The queue as the first node that answers describes it: leader, members, online, …"""
        for node in NODES:
            try:
                rows = self.api(node).queues()
            except Unavailable:
                continue
            for row in rows:
                if row["name"] == name:
                    return row
        raise NotFound(f"no node of the scratch stack tells of a queue {name!r}")

    def leader(self, queue: str) -> str:
        """The node that leads the queue."""
        return plain_name(str(self.queue(queue)["leader"]))

    def ctl(self, node: str, *arguments: str) -> str:
        """What rabbitmqctl says on that node; raises Unavailable with its words."""
        argv = [str(self._programs.rabbitmq / "rabbitmqctl"), "--quiet", *arguments]
        said = self._keeper.run(
            self._plan.accounts.rabbitmq, argv, self.environment(node), timeout_s=60
        )
        if said.returncode:
            words = (said.stderr + said.stdout).strip()[-1000:]
            raise Unavailable(f"rabbitmqctl {arguments[0]} on {node} failed: {words}")
        return said.stdout.strip()

    def part(self, node: str) -> None:
        """Cut the node off from the others: they no longer share the secret that lets them talk."""
        # In one go: a node that has lost one peer and not yet the other is another fault.
        others = [erlang_name(other) for other in _others(node)]
        words = [f"erlang:set_cookie('{other}', parted)" for other in others]
        words += [f"erlang:disconnect_node('{other}')" for other in others]
        self.ctl(node, "eval", ", ".join(words) + ".")

    def join(self, node: str) -> None:
        """Let the node and the others talk again."""
        others = [erlang_name(other) for other in _others(node)]
        words = [f"erlang:set_cookie('{other}', erlang:get_cookie())" for other in others]
        words += [f"net_kernel:connect_node('{other}')" for other in others]
        self.ctl(node, "eval", ", ".join(words) + ".")

    def volume(self, node: str) -> Path:
        """The folder that holds the node's data."""
        return self.home(node).path / "data"

    def volumes(self) -> list[Path]:
        """That of each."""
        return [self.volume(node) for node in NODES]

    def _view(self, node: str) -> set[str]:
        try:
            rows = self.api(node).nodes()
        except (Unavailable, httpx.HTTPError):
            return set()
        return {
            plain_name(row["name"])
            for row in rows
            if row.get("running") and not row.get("partitions")
        }

    def _seen(self, node: str) -> ScratchPorts:
        return self._ports.seen_as({name: f"{node}.{name}" for name in NODE_PORTS})

    def _config(self, node: str) -> str:
        text = rabbitmq.config(self.home(node), self._seen(node))
        members = "".join(
            f"cluster_formation.classic_config.nodes.{number} = {erlang_name(name)}\n"
            for number, name in enumerate(NODES, 1)
        )
        for usual, here in TUNING.items():
            text = text.replace(usual, here)
        return (
            text
            + "cluster_formation.peer_discovery_backend = classic_config\n"
            + members
            + "cluster_partition_handling = pause_minority\n"
        )


def _others(node: str) -> list[str]:
    return [other for other in NODES if other != node]
