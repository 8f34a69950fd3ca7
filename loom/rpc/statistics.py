"""What the ledger counts, as messages of the contract, and back."""

from __future__ import annotations

from dataclasses import fields

from loom.domain.lifecycle import Resolution, State
from loom.domain.statistics import Bucket, Flow, ProjectFlow, Relative, Series, Spread, Trip
from loom.rpc.codec import moment, stamp
from loom.rpc.v1 import statistics_pb2 as pb

_FLOW = tuple(field.name for field in fields(ProjectFlow))
_SPREADS = ("pickup", "run", "trip")


def flow_to_pb(flow: Flow) -> pb.GetFlowResponse:
    """Where work stands."""
    return pb.GetFlowResponse(
        at=stamp(flow.at),
        projects=[
            pb.ProjectFlow(**{name: getattr(each, name) for name in _FLOW})
            for each in flow.projects
        ],
        events_owed=flow.events_owed,
        oldest_event_s=flow.oldest_event_s,
        publish_error=flow.publish_error,
    )


def flow_from_pb(flow: pb.GetFlowResponse) -> Flow:
    """Where work stands."""
    return Flow(
        at=moment(flow.at),
        projects=tuple(
            ProjectFlow(**{name: getattr(each, name) for name in _FLOW}) for each in flow.projects
        ),
        events_owed=flow.events_owed,
        oldest_event_s=flow.oldest_event_s,
        publish_error=flow.publish_error,
    )


def series_to_pb(series: Series) -> pb.GetSeriesResponse:
    """What went through."""
    return pb.GetSeriesResponse(
        width_s=series.width_s, buckets=[_bucket_to_pb(each) for each in series.buckets]
    )


def series_from_pb(series: pb.GetSeriesResponse) -> Series:
    """What went through."""
    return Series(series.width_s, tuple(_bucket_from_pb(each) for each in series.buckets))


def trip_to_pb(trip: Trip) -> pb.GetTripResponse:
    """One bead's way."""
    return pb.GetTripResponse(
        dispatched_at=stamp(trip.dispatched_at),
        dispatched_epoch=trip.dispatched_epoch,
        owed_at=stamp(trip.owed_at),
        available_at=stamp(trip.available_at),
        tries=trip.tries,
        last_error=trip.last_error,
        relatives=[
            pb.Relative(
                kind=each.kind,
                id=each.id,
                title=each.title,
                project_id=each.project_id,
                state=each.state.value,
                resolution=each.resolution.value if each.resolution else "",
            )
            for each in trip.relatives
        ],
    )


def trip_from_pb(trip: pb.GetTripResponse) -> Trip:
    """One bead's way."""
    return Trip(
        dispatched_at=moment(trip.dispatched_at) if trip.HasField("dispatched_at") else None,
        dispatched_epoch=trip.dispatched_epoch,
        owed_at=moment(trip.owed_at) if trip.HasField("owed_at") else None,
        available_at=moment(trip.available_at) if trip.HasField("available_at") else None,
        tries=trip.tries,
        last_error=trip.last_error,
        relatives=tuple(
            Relative(
                each.kind, each.id, each.title, each.project_id, State(each.state),
                Resolution(each.resolution) if each.resolution else None,
            )
            for each in trip.relatives
        ),
    )  # fmt: skip


def _bucket_to_pb(bucket: Bucket) -> pb.Bucket:
    told = pb.Bucket(
        start=stamp(bucket.start),
        filed=bucket.filed,
        succeeded=bucket.succeeded,
        failed=bucket.failed,
        cancelled=bucket.cancelled,
        attempts=bucket.attempts,
    )
    for name in _SPREADS:
        spread: Spread | None = getattr(bucket, name)
        if spread is not None:
            setattr(told, f"{name}_50", spread.half)
            setattr(told, f"{name}_95", spread.most)
    return told


def _bucket_from_pb(told: pb.Bucket) -> Bucket:
    spreads = {
        name: Spread(getattr(told, f"{name}_50"), getattr(told, f"{name}_95"))
        for name in _SPREADS
        if told.HasField(f"{name}_50")  # type: ignore[arg-type]
    }
    return Bucket(
        start=moment(told.start),
        filed=told.filed,
        succeeded=told.succeeded,
        failed=told.failed,
        cancelled=told.cancelled,
        attempts=told.attempts,
        **spreads,
    )
