"""The part of the DatabaseService about what beads wait for, over gRPC."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.steering import acting
from loom.database.waiting import Waiting
from loom.domain.audit import Intervention
from loom.rpc import codec, waiting
from loom.rpc.server import caller
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.telemetry import traces


def edited_by(
    request: pb.CreateProjectRequest | pb.UpdateProjectRequest | pb.AmendBeadRequest,
) -> Intervention:
    """Who makes or edits, and why, if they say so."""
    correlation_id = request.by.correlation_id or getattr(request, "correlation_id", "")
    return Intervention(
        acting(request.by.actor, caller.get()),
        request.by.reason,
        correlation_id,
        request.by.traceparent or request.traceparent or traces.traceparent(),
    )


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
            request.expected_version,
            edited_by(request),
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
            by=edited_by(request),
            time_left_s=self._left(context),
        )
        return pb.AmendBeadResponse(bead=codec.bead_to_pb(bead))
