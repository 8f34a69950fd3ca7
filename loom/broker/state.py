"""How the broker is, by its management API: alarms of nodes, consumers and rates of queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from loom.domain.broker import BrokerState, Node, Traffic
from loom.errors import Unavailable
from loom.settings import BrokerSettings

OF_NODES = (
    "name,running,mem_alarm,disk_free_alarm,partitions,mem_used,mem_limit,disk_free,"
    "disk_free_limit,sockets_used,uptime"
)
OF_QUEUES = (
    "name,state,node,leader,online,members,consumers,message_stats.publish_details.rate,"
    "message_stats.deliver_get_details.rate,message_stats.ack_details.rate"
)


class Management:
    """Reads the management API; changes nothing. Its user has to have the tag `monitoring`."""

    def __init__(self, settings: BrokerSettings, url: str) -> None:
        self._settings, self._url = settings, url.rstrip("/")

    def read(self) -> BrokerState:
        """The nodes, and the queues of Loom's vhost. Raises Unavailable."""
        vhost = quote(self._settings.vhost, safe="")
        nodes = self._get("nodes", OF_NODES)
        queues = self._get(f"queues/{vhost}", OF_QUEUES)
        return BrokerState(
            tuple(map(node_of, nodes)), {row["name"]: traffic_of(row) for row in queues}
        )

    def _get(self, path: str, columns: str) -> list[dict[str, Any]]:
        settings = self._settings
        try:
            answer = httpx.get(
                f"{self._url}/api/{path}",
                params={"columns": columns},
                auth=(settings.username, settings.password.get_secret_value()),
                timeout=settings.timeout_s,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise Unavailable(
                f"RabbitMQ's management answers {error.response.status_code} to {path}: the user "
                f"{settings.username} needs the tag `monitoring`"
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"RabbitMQ's management does not answer: {error or type(error).__name__}"
            ) from error
        rows: list[dict[str, Any]] = answer.json()
        return rows


def node_of(row: Mapping[str, Any]) -> Node:
    """A node; one that is down says no more than its name."""
    return Node(
        name=row["name"],
        running=row.get("running", False),
        memory_alarm=row.get("mem_alarm", False),
        disk_alarm=row.get("disk_free_alarm", False),
        apart=tuple(row.get("partitions", ())),
        memory_used=row.get("mem_used", 0),
        memory_limit=row.get("mem_limit", 0),
        disk_free=_count(row.get("disk_free")),
        disk_limit=_count(row.get("disk_free_limit")),
        connections=row.get("sockets_used", 0),
        up_s=row.get("uptime", 0) / 1000,
    )


def traffic_of(row: Mapping[str, Any]) -> Traffic:
    """A queue; one that was just made is not counted yet."""
    stats = row.get("message_stats", {})

    def rate(name: str) -> float | None:
        found = stats.get(name, {}).get("rate")
        return None if found is None else float(found)

    return Traffic(
        queue=row["name"],
        consumers=row.get("consumers"),
        published=rate("publish_details"),
        delivered=rate("deliver_get_details"),
        acked=rate("ack_details"),
        state=row.get("state", "running"),
        node=row.get("leader") or row.get("node") or "",
        online=len(row.get("online", ())),
        members=len(row.get("members", ())),
    )


def _count(value: object) -> int:
    """A number; a node whose disk cannot be measured says a word in its place."""
    return value if isinstance(value, int) else 0
