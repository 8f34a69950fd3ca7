"""Flower, Celery's own pages, behind a generated login."""

from __future__ import annotations

import sys

from loom.stack import credentials, rabbitmq
from loom.stack.home import Home
from loom.stack.ports import Addresses

USER = "loom"


def config(home: Home, addresses: Addresses) -> str:
    """The text of Flower's configuration: a file, so that no process list shows a password.

    Without broker_api Flower asks RabbitMQ at its usual port, which may be another's.
    """
    own, management = addresses.address("flower"), addresses.address("management")
    password = home.secret(credentials.FLOWER)
    broker = home.secret(credentials.broker("flower"))
    return f"""\
address = {own.bind!r}
port = {own.port}
basic_auth = [{f"{USER}:{password}"!r}]
broker_api = "http://flower:{broker}@{management}/api/{rabbitmq.VHOST}"
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
