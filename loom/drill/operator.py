"""The broker and the ledger, asked as their operators: what stands there, and what is put there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from loom.errors import Unavailable
from loom.messaging.envelope import JSON
from loom.settings import BrokerSettings

TIMEOUT_S = 10.0
GET = 100
"""How many messages are taken at once."""
DIRECT = "amq.default"
"""The management API's name of the exchange that leads to every queue by its name."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as the management API gives and takes it."""

    routing_key: str
    body: bytes
    properties: dict[str, Any]


class Broker:
    """RabbitMQ's management API. Every call raises Unavailable when it does not answer well."""

    def __init__(self, url: str, settings: BrokerSettings) -> None:
        self._vhost = quote(settings.vhost, safe="")
        self._user = settings.username
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api",
            auth=(settings.username, settings.password.get_secret_value()),
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def depths(self) -> dict[str, int]:
        """Every queue of the vhost, and how many messages it has, unacknowledged ones included.

        The management API's own totals are some seconds old.
        """
        rows = self._ask("GET", f"queues/{self._vhost}")
        return {row["name"]: int(row.get("messages", 0)) for row in rows}

    def send(self, queue: str, copy: Copy) -> bool:
        """Put the message into that queue itself; False if there is none."""
        answer = self._ask(
            "POST",
            f"exchanges/{self._vhost}/{DIRECT}/publish",
            {
                "routing_key": queue,
                "payload": base64.b64encode(copy.body).decode(),
                "payload_encoding": "base64",
                "properties": copy.properties | {"delivery_mode": 2, "user_id": self._user},
            },
        )
        return bool(answer["routed"])

    def take(self, queue: str, count: int = GET) -> list[Copy]:
        """Take up to count messages out of the queue, for good."""
        rows = self._ask(
            "POST",
            f"queues/{self._vhost}/{quote(queue, safe='')}/get",
            {"count": count, "ackmode": "ack_requeue_false", "encoding": "base64"},
        )
        return [
            Copy(
                row["routing_key"], base64.b64decode(row["payload"]), dict(row["properties"] or {})
            )
            for row in rows
        ]

    def tap(self, queue: str, exchange: str, key: str) -> None:
        """Make a queue of the drill's own which gets a copy of what goes through the exchange."""
        name = quote(queue, safe="")
        self._ask("PUT", f"queues/{self._vhost}/{name}", {"durable": True, "arguments": {}})
        where = f"bindings/{self._vhost}/e/{quote(exchange, safe='')}/q/{name}"
        self._ask("POST", where, {"routing_key": key})

    def delete(self, queue: str) -> None:
        """Delete the queue with all that is in it."""
        self._ask("DELETE", f"queues/{self._vhost}/{quote(queue, safe='')}", missing=True)

    def limit(self, queue: str, length: int) -> None:
        """Let the queue refuse (basic.nack) what would make it longer than that."""
        policy = {
            "pattern": f"^{queue}$".replace(".", r"\."),
            "definition": {"max-length": length, "overflow": "reject-publish"},
            "apply-to": "queues",
            "priority": 10,
        }
        self._ask("PUT", f"policies/{self._vhost}/drill", policy)

    def unlimit(self) -> None:
        """Take that limit away."""
        self._ask("DELETE", f"policies/{self._vhost}/drill", missing=True)

    def _ask(self, method: str, path: str, body: Any = None, *, missing: bool = False) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
            if missing and answer.status_code == httpx.codes.NOT_FOUND:
                return None
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the drill got no answer to {method} {path}: {error!r}") from error


def properties(
    message_id: str, headers: dict[str, Any], correlation_id: str = "drill", kind: str = JSON
) -> dict[str, Any]:
    """The properties of a message of the drill's own."""
    return {
        "message_id": message_id,
        "correlation_id": correlation_id,
        "content_type": kind,
        "content_encoding": "utf-8",
        "headers": headers,
    }


def copies(taken: Sequence[Copy]) -> list[Copy]:
    """The messages as they can be sent again: without what the broker itself added."""
    kept = ("message_id", "correlation_id", "content_type", "content_encoding", "headers")
    return [
        Copy(c.routing_key, c.body, {key: c.properties[key] for key in kept if key in c.properties})
        for c in taken
    ]
