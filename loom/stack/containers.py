"""The one-shot `setup` of compose.yaml: makes the secrets and settings of a stack in containers.

Run as `python -m loom.stack.containers`, as root in Loom's image, on the volume that every service
mounts at /loom. Each file can be read by the user of its service alone. Running it again changes
nothing that stands.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from loom.domain.identity import check_project_id
from loom.errors import LoomError
from loom.messaging.topology import permission_of_agent
from loom.stack import agent, credentials, postgres, rabbitmq, render
from loom.stack.accounts import Account, Accounts
from loom.stack.home import Home, StackSettings
from loom.stack.ports import Address

HOME = Home(Path("/loom"))
ANYWHERE = "0.0.0.0"  # noqa: S104 - in a container's own network, of which loopback is no part

ROOT = Account("root", 0, 0)
SERVER = Account("server", 999, 999)
"""The user of the official rabbitmq and postgres images (their Debian variants)."""
SERVICE = Account("loom", 10001, 10001)
AGENT = Account("agent", 10002, 10002)

ADDRESSES: dict[str, Address] = {
    "control": Address("control", 8080, ANYWHERE),
    "flower": Address("flower", 8081, ANYWHERE),
    "amqp": Address("rabbitmq", 5672, ANYWHERE),
    "management": Address("rabbitmq", 15672, ANYWHERE),
    "broker-metrics": Address("rabbitmq", 15692, ANYWHERE),
    "postgres": Address("postgres", 5432, "*"),
    "pgbouncer": Address("pgbouncer", 6432, ANYWHERE),
    "database": Address("database", 8089, ANYWHERE),
    "connectors": Address("connectors", 8091, ANYWHERE),
}
"""Where each service is in the network of compose.yaml."""


@dataclass(frozen=True, slots=True)
class ContainerAddresses:
    """Every service is the host of its own name."""

    def address(self, name: str) -> Address:
        """The address of one."""
        return ADDRESSES[name]


def set_up(home: Home, who: Accounts, project_id: str) -> None:
    """Write all that the services and the project's agent read."""
    plan = render.Plan(home, ContainerAddresses(), who, StackSettings())
    render.lay_out(plan)
    agent.equip(plan, check_project_id(project_id))
    render.write_all(plan, {agent.name_of(project_id): permission_of_agent(project_id)})
    # Celery's mailboxes are such queues, and RabbitMQ 4 asks to be told that they are wanted.
    broker = rabbitmq.config(home, plan.addresses)
    broker += "deprecated_features.permit.transient_nonexcl_queues = true\n"
    who.write(home.etc / "rabbitmq.conf", broker, who.rabbitmq)
    who.write(
        home.etc / "postgres-roles.sql",
        postgres.roles_script(plan.role_passwords()),
        who.postgres,
    )


def main() -> None:
    """Write everything for the project that LOOM_PROJECT names, and say how to get in."""
    who = Accounts(ROOT, SERVER, SERVER, SERVICE, AGENT, switching=True)
    try:
        set_up(HOME, who, os.environ.get("LOOM_PROJECT", "demo"))
    except LoomError as error:
        sys.exit(error.detail)
    secrets = {
        "API token": credentials.API_TOKEN,
        "Flower, user loom": credentials.FLOWER,
        "RabbitMQ, user operator": credentials.broker("operator"),
    }
    for what, name in secrets.items():
        sys.stdout.write(f"{what}: docker compose run --rm setup cat {HOME.secrets / name}\n")


if __name__ == "__main__":
    main()
