"""Flower, Celery's own pages, behind a generated login."""

from __future__ import annotations

import sys

from loom.stack import credentials, rabbitmq
from loom.stack.home import Home
from loom.stack.ports import HOST, Ports

USER = "loom"


def config(home: Home, ports: Ports) -> str:
    """The text of Flower's configuration: a file, so that no process list shows a password.

    Without broker_api Flower asks RabbitMQ at its usual port, which may be another's.
    """
    password = home.secret(credentials.FLOWER)
    broker = home.secret(credentials.broker("flower"))
    return f"""\
address = {HOST!r}
port = {ports.of("flower")}
basic_auth = [{f"{USER}:{password}"!r}]
broker_api = "http://flower:{broker}@{HOST}:{ports.of("management")}/api/{rabbitmq.VHOST}"
enable_events = True
max_tasks = 10000
purge_offline_workers = 300
natural_time = True
"""


def server_command(home: Home) -> list[str]:
    """The argv of the pages."""
    return [
        *(sys.executable, "-P", "-m", "celery"),
        *("--app", "workers.app", "flower", f"--conf={home.etc / 'flower.py'}"),
    ]
