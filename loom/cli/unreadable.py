"""A message that no agent can read: sent by the operator's own login, and found where it ended."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from loom.errors import Unavailable
from loom.messaging.task import CELERY_TASK
from loom.messaging.topology import TASKS, dead_key, task_key
from loom.settings import BrokerSettings
from loom.stack.home import Home
from loom.stack.ports import HOST

TYPE = "task.riddle"
"""A type that no agent knows."""
TIMEOUT_S = 10.0
PEEK = 500
"""Dead letters looked at, at most; they all stay where they are."""


class Operator:
    """The management API of the local stack's broker, as its operator."""

    def __init__(self, home: Home) -> None:
        """Raises NotFound where no stack was started, Invalid without the operator's login."""
        settings = BrokerSettings(_env_file=home.settings_file("operator"))
        self._vhost = quote(settings.vhost, safe="")
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{home.ports().of('management')}/api",
            auth=(settings.username, settings.password.get_secret_value()),
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def publish(self, project_id: str, message_id: str) -> bool:
        """Send the message to the project's agents; False while they have no queue yet."""
        answer = self._post(
            f"/exchanges/{self._vhost}/{TASKS}/publish", message(project_id, message_id)
        )
        return bool(answer) and answer.get("routed") is True

    def died(self, project_id: str, message_id: str) -> bool:
        """Whether the message stands among the project's dead letters on the broker."""
        letters = self._post(
            f"/queues/{self._vhost}/{dead_key(project_id)}/get",
            {"count": PEEK, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 64},
        )
        return any(letter["properties"].get("message_id") == message_id for letter in letters or [])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer; None where there is no such exchange or queue yet."""
        try:
            answer = self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise Unavailable(
                f"RabbitMQ's management does not answer: {error or type(error).__name__}"
            ) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise Unavailable(
                f"RabbitMQ's management answers {answer.status_code} to {path}: {answer.text[:300]}"
            )
        return answer.json()


def message(project_id: str, message_id: str) -> dict[str, Any]:
    """The message as the management API takes it: an agent gets it, and cannot tell what it is."""
    body = [[{"type": TYPE, "project_id": project_id, "riddle": "?"}], {}, {}]
    return {
        "routing_key": task_key(project_id),
        "payload": json.dumps(body),
        "payload_encoding": "string",
        "properties": {
            "message_id": message_id,
            "correlation_id": message_id,
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
            "headers": {
                "lang": "py",
                "task": CELERY_TASK,
                "id": message_id,
                "root_id": message_id,
                "version": 1,
                "epoch": 1,
                "attempt": 1,
            },
        },
    }
