"""The processes of a stack, each with its command, its user and what it reads: the one table."""

from __future__ import annotations

import sys
from pathlib import Path

from loom.stack import flower, pgbouncer, rabbitmq
from loom.stack.binaries import Binaries
from loom.stack.ports import Ports
from loom.stack.program import Program
from loom.stack.render import Plan, code_digest, digest_of

INFRASTRUCTURE = ("epmd", "rabbitmq", "postgres", "pgbouncer")
"""What Loom's own services stand on."""

LOOM = (
    "database", "connectors", "control", "dispatcher", "ingester", "engine", "fleet", "flower",
)  # fmt: skip
"""Loom's own services, beside an agent for each project."""


def programs(plan: Plan, binaries: Binaries, ports: Ports) -> list[Program]:
    """Every process of the stack, but the agents, which the fleet adds."""
    return [*infrastructure(plan, binaries, ports), *loom_services(plan)]


def infrastructure(plan: Plan, binaries: Binaries, ports: Ports) -> list[Program]:
    """RabbitMQ, PostgreSQL and PgBouncer."""
    home, who = plan.home, plan.accounts
    etc = home.etc
    broker = rabbitmq.environment(home, ports)
    return [
        Program("epmd", rabbitmq.epmd_command(binaries, ports), who.rabbitmq, stop_wait_s=5),
        Program(
            "rabbitmq",
            rabbitmq.server_command(binaries),
            who.rabbitmq,
            broker,
            stop_wait_s=40,
            digest=digest_of(
                etc / "rabbitmq.conf", etc / "rabbitmq-plugins", etc / "rabbitmq-definitions.json"
            ),
        ),
        Program(
            "postgres",
            python("loom.stack.initdb"),
            who.postgres,
            # PostgreSQL's fast shutdown: open transactions are rolled back, the cluster is sound.
            stop_signal="INT",
            stop_wait_s=40,
            digest=digest_of(etc / "postgresql.conf", etc / "pg_hba.conf"),
        ),
        Program(
            "pgbouncer",
            pgbouncer.server_command(binaries, home),
            who.postgres,
            stop_signal="INT",
            stop_wait_s=5,
            digest=digest_of(etc / "pgbouncer.ini", etc / "pgbouncer-users.txt"),
        ),
    ]


def loom_services(plan: Plan) -> list[Program]:
    """Loom's own, each with the settings file that it alone may read."""
    home, who = plan.home, plan.accounts
    code = code_digest("loom")
    own = [
        Program(
            name,
            python(f"loom.{name}"),
            who.service,
            settings_environment(home.settings_file(name)),
            digest=code + digest_of(home.settings_file(name)),
        )
        for name in ("database", "connectors", "control", "dispatcher", "ingester", "engine")
    ]
    return [
        *own,
        # It makes users' folders and tells the supervisor, so it runs as whoever started Loom.
        Program(
            "fleet",
            python("loom.stack.fleet"),
            who.operator,
            settings_environment(home.settings_file("fleet")),
            digest=code_digest("loom", "workers") + digest_of(home.settings_file("fleet")),
        ),
        Program(
            "flower",
            flower.server_command(home),
            who.service,
            settings_environment(home.settings_file("flower")),
            digest=code_digest("workers")
            + digest_of(home.settings_file("flower"), home.etc / "flower.py"),
        ),
    ]


def settings_environment(file: Path) -> dict[str, str]:
    """The variable by which a service finds its settings; they are not in its environment."""
    return {"LOOM_SETTINGS_FILE": str(file)}


def python(module: str, *arguments: str) -> list[str]:
    """The argv of one of our modules. -P keeps the working directory out of the import path."""
    return [sys.executable, "-P", "-m", module, *arguments]
