"""The part of the DatabaseService about what beads wait for, over gRPC."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.waiting import Waiting
from loom.rpc import codec, waiting
from loom.rpc.server import caller
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.telemetry import traces


class WaitingService(database_pb2_grpc.DatabaseServiceServicer):
    """Calls on projects' shares and limits, and on what beads wait for."""

    _waiting: Waiting
    _left: Callable[[grpc.ServicerContext], float]

    def UpdateProject(
        self, request: pb.UpdateProjectRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProjectResponse:
        project = self._waiting.update_project(
            request.id,
            waiting.project_change_from_pb(request),
            request.correlation_id,
            request.traceparent or traces.traceparent(),
            self._left(context),
        )
        return pb.UpdateProjectResponse(project=codec.project_to_pb(project))

    def ExplainBead(
        self, request: pb.ExplainBeadRequest, context: grpc.ServicerContext
    ) -> pb.ExplainBeadResponse:
        return waiting.why_to_pb(self._waiting.explain(request.id, self._left(context)))

    def AmendBead(
        self, request: pb.AmendBeadRequest, context: grpc.ServicerContext
    ) -> pb.AmendBeadResponse:
        bead = self._waiting.amend(
            request.id,
            waiting.amendment_from_pb(request),
            expected_version=request.expected_version,
            caller=caller.get(),
            traceparent=request.traceparent or traces.traceparent(),
            time_left_s=self._left(context),
        )
        return pb.AmendBeadResponse(bead=codec.bead_to_pb(bead))
