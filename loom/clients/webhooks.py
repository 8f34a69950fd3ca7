"""The calls of the database service about webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.clients.answers import Page
from loom.domain.audit import Intervention
from loom.domain.webhook import Delivery, Errand, NewWebhook, Tried, Webhook, WebhookChange
from loom.rpc import webhooks
from loom.rpc.v1 import webhooks_pb2 as pb
from loom.rpc.v1 import webhooks_pb2_grpc


class WebhookCalls:
    """Calls of the WebhookService; DatabaseClient has the others."""

    _webhooks: webhooks_pb2_grpc.WebhookServiceStub
    _call: Callable[..., Any]

    def create_webhook(self, asked: NewWebhook, by: Intervention) -> Webhook:
        """Make a webhook; its secret comes with it this once. Raises Invalid, NotFound."""
        answer = self._call(
            self._webhooks.CreateWebhook,
            pb.CreateWebhookRequest(
                url=asked.url, project_id=asked.project_id, types=asked.types,
                secret=asked.secret, by=webhooks.actor_to_pb(by),
            ),
        )  # fmt: skip
        return webhooks.webhook_from_pb(answer.webhook)

    def get_webhook(self, id_: str) -> Webhook:
        """One webhook. Raises NotFound."""
        answer = self._call(self._webhooks.GetWebhook, pb.GetWebhookRequest(id=id_))
        return webhooks.webhook_from_pb(answer.webhook)

    def list_webhooks(self) -> tuple[Webhook, ...]:
        """All of them, in the order in which they were made."""
        answer = self._call(self._webhooks.ListWebhooks, pb.ListWebhooksRequest())
        return tuple(map(webhooks.webhook_from_pb, answer.webhooks))

    def change_webhook(self, id_: str, change: WebhookChange, by: Intervention) -> Webhook:
        """Change a webhook; as it is then. Raises NotFound, Invalid."""
        answer = self._call(self._webhooks.ChangeWebhook, webhooks.change_to_pb(id_, change, by))
        return webhooks.webhook_from_pb(answer.webhook)

    def remove_webhook(self, id_: str, by: Intervention) -> None:
        """Remove a webhook with its deliveries. Raises NotFound."""
        self._call(
            self._webhooks.RemoveWebhook,
            pb.RemoveWebhookRequest(id=id_, by=webhooks.actor_to_pb(by)),
        )

    def ping_webhook(self, id_: str, by: Intervention) -> Delivery:
        """Owe it a delivery that tells of nothing. Raises NotFound, IllegalTransition."""
        answer = self._call(
            self._webhooks.PingWebhook,
            pb.PingWebhookRequest(id=id_, by=webhooks.actor_to_pb(by)),
        )
        return webhooks.delivery_from_pb(answer.delivery)

    def list_deliveries(
        self, webhook_id: str, state: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Delivery]:
        """Deliveries of a webhook, newest first. Raises NotFound, Invalid."""
        answer = self._call(
            self._webhooks.ListDeliveries,
            pb.ListDeliveriesRequest(
                webhook_id=webhook_id, state=state, page_size=page_size, cursor=cursor
            ),
        )
        return Page(tuple(map(webhooks.delivery_from_pb, answer.deliveries)), answer.next_cursor)

    def get_delivery(self, webhook_id: str, id_: int) -> Delivery:
        """One delivery. Raises NotFound."""
        answer = self._call(
            self._webhooks.GetDelivery, pb.GetDeliveryRequest(webhook_id=webhook_id, id=id_)
        )
        return webhooks.delivery_from_pb(answer.delivery)

    def redeliver(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """Owe an ended delivery again, or every dead one; how many. Raises NotFound."""
        return self._steer_deliveries(webhook_id, by, id_, discard=False)

    def discard_deliveries(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """Give a dead delivery up, or every one; how many. Raises NotFound, IllegalTransition."""
        return self._steer_deliveries(webhook_id, by, id_, discard=True)

    def _steer_deliveries(
        self, webhook_id: str, by: Intervention, id_: int, *, discard: bool
    ) -> int:
        answer = self._call(
            self._webhooks.SteerDeliveries,
            pb.SteerDeliveriesRequest(
                webhook_id=webhook_id, id=id_, discard=discard, by=webhooks.actor_to_pb(by)
            ),
        )
        return int(answer.deliveries)

    def lease_deliveries(
        self, owner: str, limit: int, lease_s: float, wait_ms: int = 0
    ) -> tuple[Errand, ...]:
        """Deliveries that are due, leased to owner; waits for some."""
        answer = self._call(
            self._webhooks.LeaseDeliveries,
            pb.LeaseDeliveriesRequest(owner=owner, limit=limit, lease_s=lease_s, wait_ms=wait_ms),
            wait_ms / 1000,
        )
        return tuple(map(webhooks.errand_from_pb, answer.deliveries))

    def settle_deliveries(self, owner: str, tried: Sequence[Tried]) -> int:
        """Say what came of leased deliveries; how many were still the owner's."""
        answer = self._call(
            self._webhooks.SettleDeliveries,
            pb.SettleDeliveriesRequest(owner=owner, tried=map(webhooks.tried_to_pb, tried)),
        )
        return int(answer.settled)
