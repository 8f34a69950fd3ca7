"""The calls of the database service about what beads wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.domain.bead import Amendment, Bead
from loom.domain.project import Project, ProjectChange
from loom.domain.waiting import Why
from loom.rpc import codec, waiting
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc


class WaitingCalls:
    """Calls on projects' shares and limits, and on what beads wait for."""

    _stub: database_pb2_grpc.DatabaseServiceStub
    _call: Callable[..., Any]

    def update_project(
        self, project_id: str, change: ProjectChange, correlation_id: str, traceparent: str = ""
    ) -> Project:
        """Pause, drain or resume a project, or set its limits. Raises NotFound, Invalid."""
        request = waiting.project_change_to_pb(project_id, change, correlation_id, traceparent)
        return codec.project_from_pb(self._call(self._stub.UpdateProject, request).project)

    def explain_bead(self, bead_id: str) -> Why:
        """Why a bead is not running. Raises NotFound."""
        return waiting.why_from_pb(
            self._call(self._stub.ExplainBead, pb.ExplainBeadRequest(id=bead_id))
        )

    def amend_bead(
        self, bead_id: str, amendment: Amendment, expected_version: int = 0, traceparent: str = ""
    ) -> Bead:
        """Change what a bead waits for. Raises NotFound, Stale, Invalid, IllegalTransition."""
        request = waiting.amendment_to_pb(bead_id, amendment, expected_version, traceparent)
        return codec.bead_from_pb(self._call(self._stub.AmendBead, request).bead)
