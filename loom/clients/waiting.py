"""The calls of the database service about what beads wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.domain.audit import Intervention
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
        self, project_id: str, change: ProjectChange, correlation_id: str,
        traceparent: str = "", *, expected_version: int = 0, by: Intervention | None = None,
    ) -> Project:  # fmt: skip
        """Edit a project, pause, drain, resume, close or reopen it; it as it is then.

        Raises NotFound, Stale (expected_version, unless it is 0), Invalid, IllegalTransition.
        """
        request = waiting.project_change_to_pb(
            project_id, change, correlation_id, traceparent,
            expected_version=expected_version, by=by,
        )  # fmt: skip
        return codec.project_from_pb(self._call(self._stub.UpdateProject, request).project)

    def explain_bead(self, bead_id: str) -> Why:
        """Why a bead is not running. Raises NotFound."""
        return waiting.why_from_pb(
            self._call(self._stub.ExplainBead, pb.ExplainBeadRequest(id=bead_id))
        )

    def amend_bead(
        self, bead_id: str, amendment: Amendment, expected_version: int = 0,
        traceparent: str = "", by: Intervention | None = None,
    ) -> Bead:  # fmt: skip
        """Edit a bead. Raises NotFound, Stale, Invalid, IllegalTransition."""
        request = waiting.amendment_to_pb(bead_id, amendment, expected_version, traceparent, by)
        return codec.bead_from_pb(self._call(self._stub.AmendBead, request).bead)
