"""The calls of the database service by which people handle beads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.domain.audit import Intervention
from loom.domain.bead import Bead
from loom.domain.bulk import Bulk, BulkAnswer
from loom.rpc import codec, desk
from loom.rpc.v1 import desk_pb2 as pb
from loom.rpc.v1 import desk_pb2_grpc


class DeskCalls:
    """Calls of the DeskService; DatabaseClient has the others."""

    _desk: desk_pb2_grpc.DeskServiceStub
    _call: Callable[..., Any]

    def assign_bead(self, bead_id: str, assignee: str, by: Intervention) -> Bead:
        """Give a bead to a person, or (empty) back to the agents; the bead then.

        Raises NotFound, IllegalTransition.
        """
        request = pb.AssignBeadRequest(
            bead_id=bead_id, assignee=assignee, by=codec.intervention_to_pb(by)
        )
        return codec.bead_from_pb(self._call(self._desk.AssignBead, request).bead)

    def act_on_beads(self, bulk: Bulk, by: Intervention) -> BulkAnswer:
        """Do the same to many beads; what became of each. Raises Invalid."""
        return desk.answer_from_pb(self._call(self._desk.ActOnBeads, desk.bulk_to_pb(bulk, by)))
