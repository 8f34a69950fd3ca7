"""The AgentService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.presence import Presence
from loom.database.steering import acting
from loom.domain.audit import Intervention, check_intervention
from loom.rpc import presence
from loom.rpc.server import caller
from loom.rpc.v1 import agents_pb2 as pb
from loom.rpc.v1 import agents_pb2_grpc
from loom.telemetry import traces

NAME = "loom.v1.AgentService"


class AgentService(agents_pb2_grpc.AgentServiceServicer):
    """Every call of proto/loom/v1/agents.proto; errors are raised as Loom's own."""

    def __init__(self, known: Presence, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._known = known
        self._left = left

    def RegisterAgent(
        self, request: pb.RegisterAgentRequest, context: grpc.ServicerContext
    ) -> pb.RegisterAgentResponse:
        told = presence.registration_from_pb(request)
        wish = self._known.register(told, caller.get(), self._left(context))
        return pb.RegisterAgentResponse(wish=wish.value)

    def ReportAgent(
        self, request: pb.ReportAgentRequest, context: grpc.ServicerContext
    ) -> pb.ReportAgentResponse:
        told = presence.report_from_pb(request)
        wish = self._known.report(told, caller.get(), self._left(context))
        return pb.ReportAgentResponse(wish=wish.value)

    def GetAgent(
        self, request: pb.GetAgentRequest, context: grpc.ServicerContext
    ) -> pb.GetAgentResponse:
        found = self._known.get(request.name, self._left(context))
        return pb.GetAgentResponse(agent=presence.agent_to_pb(found))

    def ListAgents(
        self, request: pb.ListAgentsRequest, context: grpc.ServicerContext
    ) -> pb.ListAgentsResponse:
        found, cursor = self._known.page(
            request.project_id,
            presence.state_from_pb(request.state),
            request.page_size,
            request.cursor,
            self._left(context),
            project_ids=list(request.project_ids),
        )
        return pb.ListAgentsResponse(agents=map(presence.agent_to_pb, found), next_cursor=cursor)

    def SteerAgent(
        self, request: pb.SteerAgentRequest, context: grpc.ServicerContext
    ) -> pb.SteerAgentResponse:
        by = check_intervention(
            Intervention(
                acting(request.actor, caller.get()),
                request.reason,
                request.correlation_id,
                request.traceparent or traces.traceparent(),
            )
        )
        wish = presence.wish_from_pb(request.wish)
        agent = self._known.steer(request.name, wish, by, self._left(context))
        return pb.SteerAgentResponse(agent=presence.agent_to_pb(agent))

    def ForgetAgents(
        self, request: pb.ForgetAgentsRequest, context: grpc.ServicerContext
    ) -> pb.ForgetAgentsResponse:
        return pb.ForgetAgentsResponse(forgotten=self._known.forget(self._left(context)))
