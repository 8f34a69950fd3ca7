"""RabbitMQ's management API, as the operator: users, permissions, and what is declared."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from loom.errors import Unavailable
from loom.messaging.topology import Permission
from loom.stack import credentials
from loom.stack.home import Home
from loom.stack.ports import Addresses
from loom.stack.probe import TRUSTS_NOBODY
from loom.stack.rabbitmq import VHOST, as_json, topics_as_json

TIMEOUT_S = 10.0


class Management:
    """The API of one stack's broker, for one vhost on it.

    Every call raises Unavailable when it does not answer.
    """

    def __init__(self, home: Home, addresses: Addresses, vhost: str = VHOST) -> None:
        self._base = f"http://{addresses.address('management')}/api"
        self._vhost = _part(vhost)
        self._login = ("operator", home.secret(credentials.broker("operator")))

    def put_user(self, name: str, password: str, permission: Permission) -> None:
        """Make the user or bring it up to date; it may do on the vhost what permission says."""
        hashed = credentials.broker_hash(password, credentials.salt_of(password))
        self._put(f"users/{_part(name)}", {"password_hash": hashed, "tags": ""})
        # The limits first, so that there is no moment without them.
        for topic in topics_as_json(permission):
            self._put(f"topic-permissions/{self._vhost}/{_part(name)}", topic)
        self._put(f"permissions/{self._vhost}/{_part(name)}", as_json(permission))

    def exchanges(self) -> list[dict[str, Any]]:
        """Every exchange of the vhost."""
        return self._list(f"exchanges/{self._vhost}")

    def queues(self) -> list[dict[str, Any]]:
        """Every queue of the vhost."""
        return self._list(f"queues/{self._vhost}")

    def bindings(self) -> list[dict[str, Any]]:
        """Every binding of the vhost."""
        return self._list(f"bindings/{self._vhost}")

    def permissions(self) -> list[dict[str, Any]]:
        """Every user's permission on the vhost."""
        return self._list(f"vhosts/{self._vhost}/permissions")

    def topic_permissions(self) -> list[dict[str, Any]]:
        """Every limit of a user by routing key on the vhost."""
        return self._list(f"vhosts/{self._vhost}/topic-permissions")

    def overview(self) -> dict[str, Any]:
        """The broker's version and totals."""
        answer: dict[str, Any] = self._ask("GET", "overview").json()
        return answer

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes with their alarms and limits."""
        return self._list("nodes")

    def _list(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask("GET", path).json()
        return rows

    def _put(self, path: str, body: dict[str, Any]) -> None:
        self._ask("PUT", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        url = f"{self._base}/{path}"
        try:
            answer = httpx.request(
                method,
                url,
                json=body,
                auth=self._login,
                timeout=TIMEOUT_S,
                trust_env=False,
                verify=TRUSTS_NOBODY,
            )
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise Unavailable(
                f"RabbitMQ's management refused {method} {url}: {error.response.status_code} "
                f"{error.response.text[:300]}"
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"RabbitMQ's management does not answer {method} {url}: "
                f"{error or type(error).__name__}"
            ) from error
        return answer


def _part(name: str) -> str:
    return quote(name, safe="")
