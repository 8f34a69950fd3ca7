"""A private RabbitMQ node: its configuration, its users, and the environment it starts with.

The environment's names are those of rabbitmq-env(8) and rabbit_env.erl; the settings are valid for
RabbitMQ 3.10 to 4.x.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loom.messaging.topology import Permission
from loom.stack import credentials
from loom.stack.binaries import Binaries
from loom.stack.home import Home
from loom.stack.ports import HOST, Addresses

VHOST = "loom"
NODE = "loom@localhost"
"""The node's name does not hold the port: its data belong to the name, and outlive the port."""

CONSUMER_TIMEOUT_MS = 7 * 24 * 3600 * 1000
"""How long a message may stay unacknowledged: longer than any bead may take, as an agent acks at
its end. The ledger's leases notice a dead agent much sooner."""

PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")

TAGS: Mapping[str, tuple[str, ...]] = {
    "operator": ("administrator",),
    "flower": ("management",),
    "control": ("monitoring",),
    "engine": ("management",),
}
"""What a user may do in the management pages, where it may at all; `monitoring` sees nodes too."""


def config(home: Home, addresses: Addresses) -> str:
    """The text of rabbitmq.conf."""
    amqp, management, metrics = (
        addresses.address(name) for name in ("amqp", "management", "broker-metrics")
    )
    return f"""\
listeners.tcp.local = {amqp.bind}:{amqp.port}
management.tcp.ip = {management.bind}
management.tcp.port = {management.port}
management.rates_mode = basic
prometheus.tcp.ip = {metrics.bind}
prometheus.tcp.port = {metrics.port}

# Users come with the definitions alone, so there is no default user at any time.
load_definitions = {home.etc / "rabbitmq-definitions.json"}

consumer_timeout = {CONSUMER_TIMEOUT_MS}
max_message_size = 16777216
heartbeat = 30
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 512MB
raft.wal_max_size_bytes = 67108864
collect_statistics_interval = 5000

log.console = true
log.console.level = info
log.file = false
"""


def enabled_plugins() -> str:
    """The text of the file of enabled plugins, an Erlang term."""
    return f"[{','.join(PLUGINS)}].\n"


def definitions(passwords: Mapping[str, str], permissions: Mapping[str, Permission]) -> str:
    """The vhost and the users with their permissions, as the broker imports them.

    The import adds and updates; users that the fleet made for agents stay.
    """
    document: dict[str, Any] = {
        "vhosts": [{"name": VHOST}],
        "users": [
            {
                "name": user,
                "password_hash": credentials.broker_hash(password, credentials.salt_of(password)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": list(TAGS.get(user, ())),
                "limits": {},
            }
            for user, password in passwords.items()
        ],
        "permissions": [
            {"user": user, "vhost": VHOST, **as_json(permissions[user])} for user in passwords
        ],
        "topic_permissions": [
            {"user": user, "vhost": VHOST, **topic}
            for user in passwords
            for topic in topics_as_json(permissions[user])
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def as_json(permission: Permission) -> dict[str, str]:
    """The permission as the management API and the definitions spell it."""
    return {
        "configure": permission.configure,
        "write": permission.write,
        "read": permission.read,
    }


def topics_as_json(permission: Permission) -> list[dict[str, str]]:
    """Its limits by routing key, as the management API and the definitions spell them."""
    return [
        {"exchange": topic.exchange, "write": topic.write, "read": topic.read}
        for topic in permission.topics
    ]


def environment(home: Home, ports: Addresses, node: str = NODE) -> dict[str, str]:
    """The environment of the node and of rabbitmqctl for it."""
    etc, data = home.etc, home.rabbitmq
    return {
        "HOME": str(data),
        # systemd's mode makes the script become the Erlang VM, so that the supervisor holds the
        # VM itself and its TERM is an orderly stop.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(ports.address("epmd").port),
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_DIST_PORT": str(ports.address("broker-dist").port),
        # Debian's /etc/rabbitmq is another node's.
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(etc / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(etc / "rabbitmq-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(etc / "rabbitmq-plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "generated"),
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(data / "rabbitmq.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def server_command(binaries: Binaries) -> list[str]:
    """The argv of the node."""
    return [str(binaries.rabbitmq / "rabbitmq-server")]


def epmd_command(binaries: Binaries, ports: Addresses) -> list[str]:
    """The argv of the Erlang port mapper, which the node would else leave behind as a daemon."""
    return [str(binaries.epmd), "-address", HOST, "-port", str(ports.address("epmd").port)]
