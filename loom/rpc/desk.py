"""Lists of beads and acts on many of them as messages of the contract, and back."""

from __future__ import annotations

from loom.domain.audit import Intervention
from loom.domain.bulk import Act, Bulk, BulkAnswer, Done, Verdict
from loom.domain.listing import BeadFilter, BeadSort
from loom.errors import Invalid
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import desk_pb2

_MOMENTS = ("created_since", "created_until", "updated_since", "updated_until")


def filter_to_pb(where: BeadFilter) -> pb.BeadFilter:
    """Which beads."""
    return pb.BeadFilter(
        project_ids=where.projects,
        states=where.states,
        resolution=where.resolution,
        priorities=where.priorities,
        parent=where.parent,
        text=where.text,
        reason=where.reason,
        assignee=where.assignee,
        agent=where.agent,
        **{name: codec.stamp(getattr(where, name)) for name in _MOMENTS},
    )


def filter_from_pb(where: pb.BeadFilter) -> BeadFilter:
    """Which beads."""
    return BeadFilter(
        projects=tuple(where.project_ids),
        states=tuple(where.states),
        resolution=where.resolution,
        priorities=tuple(where.priorities),
        parent=where.parent,
        text=where.text,
        reason=where.reason,
        assignee=where.assignee,
        agent=where.agent,
        **{
            name: codec.moment(getattr(where, name))
            for name in _MOMENTS
            if where.HasField(name)  # type: ignore[arg-type]
        },
    )


def sort_from_pb(text: str) -> BeadSort:
    """The order; raises Invalid for one that there is not."""
    try:
        return BeadSort(text or BeadSort.NEWEST)
    except ValueError as error:
        raise Invalid(
            f"sort is one of {', '.join(BeadSort)}, not {text!r}", field="sort"
        ) from error


def bulk_to_pb(bulk: Bulk, by: Intervention) -> desk_pb2.ActOnBeadsRequest:
    """What is asked for."""
    return desk_pb2.ActOnBeadsRequest(
        act=bulk.act.value,
        bead_ids=bulk.ids,
        filter=filter_to_pb(bulk.where),
        priority=bulk.priority,
        dry_run=bulk.dry_run,
        by=codec.intervention_to_pb(by),
    )


def bulk_from_pb(asked: desk_pb2.ActOnBeadsRequest) -> Bulk:
    """What is asked for; raises Invalid for an act that there is not."""
    try:
        act = Act(asked.act)
    except ValueError as error:
        raise Invalid(f"act is one of {', '.join(Act)}, not {asked.act!r}", field="act") from error
    return Bulk(
        act, tuple(asked.bead_ids), filter_from_pb(asked.filter), asked.priority, asked.dry_run
    )


def answer_to_pb(answer: BulkAnswer) -> desk_pb2.ActOnBeadsResponse:
    """What became of each."""
    return desk_pb2.ActOnBeadsResponse(
        outcomes=[
            desk_pb2.BeadOutcome(
                bead_id=done.bead_id, verdict=done.verdict.value, code=done.code, why=done.why
            )
            for done in answer.done
        ],
        more=answer.more,
    )


def answer_from_pb(answer: desk_pb2.ActOnBeadsResponse) -> BulkAnswer:
    """What became of each."""
    return BulkAnswer(
        tuple(
            Done(each.bead_id, Verdict(each.verdict), each.code, each.why)
            for each in answer.outcomes
        ),
        answer.more,
    )
