"""The routes of webhooks: who is told of events, and what became of it."""

from __future__ import annotations

from typing import Any, Protocol

from flask import Blueprint, Response, jsonify, request

from loom.clients.answers import Page
from loom.clients.hooks import delivery_to_json, webhook_path, webhook_to_json
from loom.control import body
from loom.control.answers.webhooks import (
    DeliveryOut,
    DeliveryPageOut,
    SteeredOut,
    WebhookOut,
    WebhooksOut,
)
from loom.control.operation import Within, operation
from loom.control.requests.reading import read_body, read_query
from loom.control.requests.steering import ReasonIn
from loom.control.requests.webhooks import DeliveryQuery, WebhookChangeIn, WebhookIn
from loom.control.steering import by, reason_in_body
from loom.domain.access import Role
from loom.domain.audit import Intervention
from loom.domain.webhook import Delivery, NewWebhook, Webhook, WebhookChange
from loom.telemetry import logs

log = logs.get(__name__)

BY_API = "over the API"
ADMIN: dict[str, Any] = {"needs": Role.ADMIN, "within": Within.ALL}


class Webhooks(Protocol):
    """The calls of loom.clients.webhooks.WebhookCalls that the API stands on."""

    def create_webhook(self, asked: NewWebhook, by: Intervention) -> Webhook:
        """Make one; its secret comes with it this once."""

    def get_webhook(self, id_: str) -> Webhook:
        """One webhook."""

    def list_webhooks(self) -> tuple[Webhook, ...]:
        """All of them."""

    def change_webhook(self, id_: str, change: WebhookChange, by: Intervention) -> Webhook:
        """Change one."""

    def remove_webhook(self, id_: str, by: Intervention) -> None:
        """Remove one with its deliveries."""

    def ping_webhook(self, id_: str, by: Intervention) -> Delivery:
        """Owe one a delivery that tells of nothing."""

    def list_deliveries(
        self, webhook_id: str, state: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Delivery]:
        """Deliveries, newest first."""

    def get_delivery(self, webhook_id: str, id_: int) -> Delivery:
        """One delivery."""

    def redeliver(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """Owe one again, or every dead one."""

    def discard_deliveries(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """Give a dead one up, or every one."""


def routes(ledger: Webhooks) -> Blueprint:
    """Make webhooks, change and test them, and see to their deliveries."""
    webhooks = Blueprint("webhooks", __name__)

    @webhooks.get("/webhooks")
    @operation("List webhooks", answers={200: WebhooksOut}, **ADMIN)
    def list_all() -> Response:
        return jsonify({"webhooks": [webhook_to_json(each) for each in ledger.list_webhooks()]})

    @webhooks.post("/webhooks")
    @operation(
        "Make a webhook", body=WebhookIn, answers={201: WebhookOut},
        refuses=("not_found", "conflict"), **ADMIN,
    )  # fmt: skip
    def create() -> Response:
        asked = read_body(WebhookIn, body.read()).asked()
        made = ledger.create_webhook(asked, by(BY_API))
        log.info("webhook_created", webhook_id=made.id, host=made.host)
        response = jsonify(webhook_to_json(made))
        response.status_code = 201
        response.headers["Location"] = webhook_path(made.id)
        # The secret is in it.
        response.headers["Cache-Control"] = "no-store"
        return response

    @webhooks.get("/webhooks/<webhook_id>")
    @operation("Show a webhook", answers={200: WebhookOut}, **ADMIN)
    def show(webhook_id: str) -> Response:
        return jsonify(webhook_to_json(ledger.get_webhook(webhook_id)))

    @webhooks.patch("/webhooks/<webhook_id>")
    @operation(
        "Change a webhook, or switch it off or on", body=WebhookChangeIn,
        answers={200: WebhookOut}, **ADMIN,
    )  # fmt: skip
    def change(webhook_id: str) -> Response:
        wished = read_body(WebhookChangeIn, body.read()).change()
        return jsonify(webhook_to_json(ledger.change_webhook(webhook_id, wished, by(BY_API))))

    @webhooks.delete("/webhooks/<webhook_id>")
    @operation("Remove a webhook with its deliveries", answers={204: None}, **ADMIN)
    def remove(webhook_id: str) -> Response:
        ledger.remove_webhook(webhook_id, by(BY_API))
        log.info("webhook_removed", webhook_id=webhook_id)
        return Response(status=204)

    @webhooks.post("/webhooks/<webhook_id>/test")
    @operation(
        "Send a webhook a delivery that tells of nothing", answers={202: DeliveryOut},
        refuses=("illegal_transition",), **ADMIN,
    )  # fmt: skip
    def test(webhook_id: str) -> Response:
        made = ledger.ping_webhook(webhook_id, by(BY_API))
        response = jsonify(delivery_to_json(made))
        response.status_code = 202
        return response

    @webhooks.get("/webhooks/<webhook_id>/deliveries")
    @operation(
        "List the deliveries of a webhook, newest first", query=DeliveryQuery,
        answers={200: DeliveryPageOut}, **ADMIN,
    )  # fmt: skip
    def list_deliveries(webhook_id: str) -> Response:
        query = read_query(DeliveryQuery, request.args.to_dict(flat=False))
        state = query.state.value if query.state else ""
        page = ledger.list_deliveries(webhook_id, state, query.limit, query.cursor)
        return jsonify(
            {
                "deliveries": [delivery_to_json(each) for each in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @webhooks.get("/webhooks/<webhook_id>/deliveries/<int:delivery_id>")
    @operation("Show a delivery", answers={200: DeliveryOut}, **ADMIN)
    def show_delivery(webhook_id: str, delivery_id: int) -> Response:
        return jsonify(delivery_to_json(ledger.get_delivery(webhook_id, delivery_id)))

    @webhooks.post(
        "/webhooks/<webhook_id>/deliveries/<int:delivery_id>/<any(redeliver,discard):act>"
    )
    @operation(
        "Send a delivery that has ended again, or give a dead one up", body=ReasonIn,
        answers={200: SteeredOut}, refuses=("illegal_transition",), **ADMIN,
    )  # fmt: skip
    def steer_one(webhook_id: str, delivery_id: int, act: str) -> Response:
        return _steered(webhook_id, act, delivery_id)

    @webhooks.post("/webhooks/<webhook_id>/deliveries/<any(redeliver, discard):act>")
    @operation(
        "Send every dead delivery of a webhook again, or give them up", body=ReasonIn,
        answers={200: SteeredOut}, **ADMIN,
    )  # fmt: skip
    def steer_all(webhook_id: str, act: str) -> Response:
        return _steered(webhook_id, act)

    def _steered(webhook_id: str, act: str, delivery_id: int = 0) -> Response:
        who = reason_in_body()
        do = ledger.redeliver if act == "redeliver" else ledger.discard_deliveries
        return jsonify({"deliveries": do(webhook_id, who, delivery_id)})

    return webhooks
