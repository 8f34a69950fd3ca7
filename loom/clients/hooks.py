"""Webhooks as the HTTP API's JSON, and back; and the calls of the API about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx

from loom.clients.answers import Page
from loom.clients.representation import API, time_from_json, time_to_json
from loom.domain.webhook import Delivery, DeliveryState, NewWebhook, Webhook, WebhookChange

WEBHOOKS = f"{API}/webhooks"


def webhook_path(id_: str) -> str:
    """Where a webhook is."""
    return f"{WEBHOOKS}/{id_}"


def webhook_to_json(webhook: Webhook) -> dict[str, Any]:
    """A webhook; its secret where it is known, which is once."""
    here = webhook_path(webhook.id)
    return {
        "id": webhook.id,
        "url": webhook.url,
        "project_id": webhook.project_id or None,
        "types": list(webhook.types),
        "active": webhook.active,
        "reason": webhook.reason,
        "failures": webhook.failures,
        "resting_until": time_to_json(webhook.resting_until),
        "last_ok_at": time_to_json(webhook.last_ok_at),
        "pending": webhook.pending,
        "dead": webhook.dead,
        "created_by": webhook.created_by,
        "created_at": time_to_json(webhook.created_at),
        "updated_at": time_to_json(webhook.updated_at),
        "secret": webhook.secret or None,
        "links": {"self": here, "deliveries": f"{here}/deliveries", "test": f"{here}/test"},
    }


def webhook_from_json(document: Mapping[str, Any]) -> Webhook:
    """A webhook."""
    return Webhook(
        id=document["id"],
        url=document["url"],
        project_id=document["project_id"] or "",
        types=tuple(document["types"]),
        active=document["active"],
        reason=document["reason"],
        failures=document["failures"],
        created_by=document["created_by"],
        created_at=datetime.fromisoformat(document["created_at"]),
        updated_at=datetime.fromisoformat(document["updated_at"]),
        resting_until=time_from_json(document["resting_until"]),
        last_ok_at=time_from_json(document["last_ok_at"]),
        pending=document["pending"],
        dead=document["dead"],
        secret=document["secret"] or "",
    )


def delivery_to_json(delivery: Delivery) -> dict[str, Any]:
    """A delivery."""
    here = f"{webhook_path(delivery.webhook_id)}/deliveries/{delivery.id}"
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "event_id": delivery.event_id,
        "type": delivery.type,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "due_at": time_to_json(delivery.due_at),
        "status": delivery.status or None,
        "error": delivery.error,
        "response": delivery.response,
        "duration_ms": delivery.duration_ms,
        "created_at": time_to_json(delivery.created_at),
        "tried_at": time_to_json(delivery.tried_at),
        "ended_at": time_to_json(delivery.ended_at),
        "links": {
            "self": here,
            "webhook": webhook_path(delivery.webhook_id),
            "redeliver": f"{here}/redeliver",
            "discard": f"{here}/discard",
        },
    }


def delivery_from_json(document: Mapping[str, Any]) -> Delivery:
    """A delivery."""
    return Delivery(
        id=document["id"],
        webhook_id=document["webhook_id"],
        event_id=document["event_id"],
        type=document["type"],
        state=DeliveryState(document["state"]),
        tries=document["tries"],
        created_at=datetime.fromisoformat(document["created_at"]),
        due_at=datetime.fromisoformat(document["due_at"]),
        status=document["status"] or 0,
        error=document["error"],
        response=document["response"],
        duration_ms=document["duration_ms"],
        tried_at=time_from_json(document["tried_at"]),
        ended_at=time_from_json(document["ended_at"]),
    )


class HookCalls:
    """Calls about webhooks; ControlClient has the others."""

    _get: Callable[..., Any]
    _post: Callable[..., httpx.Response]
    _ask: Callable[..., httpx.Response]

    def add_webhook(self, asked: NewWebhook) -> Webhook:
        """Make a webhook; its secret comes with it this once. Raises Invalid, NotFound."""
        body: dict[str, Any] = {"url": asked.url, "types": list(asked.types)}
        body |= {"project_id": asked.project_id} if asked.project_id else {}
        body |= {"secret": asked.secret} if asked.secret else {}
        return webhook_from_json(self._post(WEBHOOKS, body, "").json())

    def get_webhook(self, id_: str) -> Webhook:
        """One webhook. Raises NotFound."""
        return webhook_from_json(self._get(webhook_path(id_)))

    def list_webhooks(self) -> tuple[Webhook, ...]:
        """All of them, in the order in which they were made."""
        return tuple(map(webhook_from_json, self._get(WEBHOOKS)["webhooks"]))

    def change_webhook(self, id_: str, change: WebhookChange) -> Webhook:
        """Change a webhook; as it is then. Raises NotFound, Invalid."""
        wished = {
            "url": change.url,
            "project_id": change.project_id,
            "types": None if change.types is None else list(change.types),
            "active": change.active,
        }
        body = {name: value for name, value in wished.items() if value is not None}
        return webhook_from_json(self._ask("PATCH", webhook_path(id_), json=body).json())

    def remove_webhook(self, id_: str) -> None:
        """Remove a webhook with its deliveries. Raises NotFound."""
        self._ask("DELETE", webhook_path(id_))

    def test_webhook(self, id_: str) -> Delivery:
        """Owe it a delivery that tells of nothing. Raises NotFound, IllegalTransition."""
        return delivery_from_json(self._post(f"{webhook_path(id_)}/test", None, "").json())

    def list_deliveries(
        self, id_: str, state: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[Delivery]:
        """Deliveries of a webhook, newest first. Raises NotFound."""
        path = f"{webhook_path(id_)}/deliveries"
        page = self._get(path, state=state, limit=limit, cursor=cursor)
        found = tuple(map(delivery_from_json, page["deliveries"]))
        return Page(found, page["next_cursor"] or "")

    def get_delivery(self, id_: str, delivery_id: int) -> Delivery:
        """One delivery. Raises NotFound."""
        return delivery_from_json(self._get(f"{webhook_path(id_)}/deliveries/{delivery_id}"))

    def steer_deliveries(self, id_: str, act: str, reason: str, delivery_id: int = 0) -> int:
        """Redeliver or discard one, or every dead one; how many. Raises NotFound."""
        one = f"/{delivery_id}" if delivery_id else ""
        path = f"{webhook_path(id_)}/deliveries{one}/{act}"
        return int(self._post(path, {"reason": reason}, "").json()["deliveries"])
