"""Results as they come over gRPC, as reports that can be judged and stored."""

from __future__ import annotations

from loom.database.changes import Report
from loom.database.filing import storable
from loom.domain.evidence import FailureClass, Outcome
from loom.rpc import evidence
from loom.rpc.v1 import database_pb2 as pb

_CLASSES = {failure.value: failure for failure in FailureClass}


def from_pb(result: pb.Result) -> Report:
    """An agent's report; a failure of no known class counts as the work's own."""
    return Report(
        message_id=storable(result.message_id),
        project_id=storable(result.project_id),
        bead_id=storable(result.bead_id),
        epoch=result.epoch,
        agent_id=storable(result.agent_id),
        progress=result.progress,
        outcome=Outcome(
            succeeded=result.succeeded,
            steps=evidence.steps_from_pb(result.steps),
            commits=evidence.commits_from_pb(result.commits),
            output=result.output,
            failure_class=None if result.succeeded else _CLASSES.get(result.failure_class),
            reason=result.reason,
            artifacts=evidence.artifacts_from_pb(result.artifacts),
            planned=tuple(result.planned),
            notes=result.notes,
            sub_beads=evidence.sub_beads_from_pb(result.sub_beads),
        ),
        correlation_id=storable(result.correlation_id),
        traceparent=storable(result.traceparent),
    )
