"""The WebhookService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.webhooks import Webhooks
from loom.domain.webhook import NewWebhook
from loom.rpc import webhooks
from loom.rpc.server import caller
from loom.rpc.v1 import webhooks_pb2 as pb
from loom.rpc.v1 import webhooks_pb2_grpc

NAME = "loom.v1.WebhookService"


class WebhookService(webhooks_pb2_grpc.WebhookServiceServicer):
    """Every call of proto/loom/v1/webhooks.proto; errors are raised as Loom's own."""

    def __init__(self, known: Webhooks, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._known = known
        self._left = left

    def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: grpc.ServicerContext
    ) -> pb.CreateWebhookResponse:
        asked = NewWebhook(request.url, request.project_id, tuple(request.types), request.secret)
        by = webhooks.actor_from_pb(request.by, caller.get())
        made = self._known.create(asked, by, self._left(context))
        return pb.CreateWebhookResponse(webhook=webhooks.webhook_to_pb(made))

    def GetWebhook(
        self, request: pb.GetWebhookRequest, context: grpc.ServicerContext
    ) -> pb.GetWebhookResponse:
        found = self._known.get(request.id, self._left(context))
        return pb.GetWebhookResponse(webhook=webhooks.webhook_to_pb(found))

    def ListWebhooks(
        self, request: pb.ListWebhooksRequest, context: grpc.ServicerContext
    ) -> pb.ListWebhooksResponse:
        found = self._known.every(self._left(context))
        return pb.ListWebhooksResponse(webhooks=map(webhooks.webhook_to_pb, found))

    def ChangeWebhook(
        self, request: pb.ChangeWebhookRequest, context: grpc.ServicerContext
    ) -> pb.ChangeWebhookResponse:
        after = self._known.change(
            request.id, webhooks.change_from_pb(request),
            webhooks.actor_from_pb(request.by, caller.get()), self._left(context),
        )  # fmt: skip
        return pb.ChangeWebhookResponse(webhook=webhooks.webhook_to_pb(after))

    def RemoveWebhook(
        self, request: pb.RemoveWebhookRequest, context: grpc.ServicerContext
    ) -> pb.RemoveWebhookResponse:
        by = webhooks.actor_from_pb(request.by, caller.get())
        self._known.remove(request.id, by, self._left(context))
        return pb.RemoveWebhookResponse()

    def PingWebhook(
        self, request: pb.PingWebhookRequest, context: grpc.ServicerContext
    ) -> pb.PingWebhookResponse:
        by = webhooks.actor_from_pb(request.by, caller.get())
        made = self._known.ping(request.id, by, self._left(context))
        return pb.PingWebhookResponse(delivery=webhooks.delivery_to_pb(made))

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.ListDeliveriesResponse:
        found, cursor = self._known.page(
            request.webhook_id, request.state, request.page_size, request.cursor,
            self._left(context),
        )  # fmt: skip
        return pb.ListDeliveriesResponse(
            deliveries=map(webhooks.delivery_to_pb, found), next_cursor=cursor
        )

    def GetDelivery(
        self, request: pb.GetDeliveryRequest, context: grpc.ServicerContext
    ) -> pb.GetDeliveryResponse:
        found = self._known.delivery(request.webhook_id, request.id, self._left(context))
        return pb.GetDeliveryResponse(delivery=webhooks.delivery_to_pb(found))

    def SteerDeliveries(
        self, request: pb.SteerDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.SteerDeliveriesResponse:
        count = self._known.steer(
            request.webhook_id, request.id, webhooks.actor_from_pb(request.by, caller.get()),
            self._left(context), discard=request.discard,
        )  # fmt: skip
        return pb.SteerDeliveriesResponse(deliveries=count)

    def LeaseDeliveries(
        self, request: pb.LeaseDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.LeaseDeliveriesResponse:
        leased = self._known.lease(
            request.owner, request.limit, request.lease_s, request.wait_ms / 1000,
            self._left(context),
        )  # fmt: skip
        return pb.LeaseDeliveriesResponse(deliveries=map(webhooks.errand_to_pb, leased))

    def SettleDeliveries(
        self, request: pb.SettleDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.SettleDeliveriesResponse:
        tried = [webhooks.tried_from_pb(each) for each in request.tried]
        return pb.SettleDeliveriesResponse(
            settled=self._known.settle(request.owner, tried, self._left(context))
        )
