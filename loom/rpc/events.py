"""Events as the contract's messages, and back."""

from __future__ import annotations

import json

from loom.domain.event import EventFilter, EventLine, EventPage, Place, check_filter
from loom.rpc import codec
from loom.rpc.v1 import events_pb2 as pb

Page = pb.ListEventsResponse | pb.WatchEventsResponse


def event_to_pb(event: EventLine) -> pb.JournalEvent:
    """One change of state."""
    return pb.JournalEvent(
        place=str(event.place),
        id=event.id,
        type=event.type,
        project_id=event.project_id,
        bead_id=event.bead_id,
        epoch=event.epoch,
        at=codec.stamp(event.at),
        data=json.dumps(dict(event.data), ensure_ascii=False),
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
    )


def event_from_pb(event: pb.JournalEvent) -> EventLine:
    """One change of state."""
    return EventLine(
        place=Place.parse(event.place),
        id=event.id,
        type=event.type,
        project_id=event.project_id,
        bead_id=event.bead_id,
        epoch=event.epoch,
        at=codec.moment(event.at),
        data=json.loads(event.data),
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
    )


def filter_to_pb(wants: EventFilter) -> pb.EventFilter:
    """Who wants which events."""
    return pb.EventFilter(
        all_projects=wants.projects is None,
        projects=sorted(wants.projects or ()),
        bead_id=wants.bead_id,
        types=wants.types,
        since=codec.stamp(wants.since),
        until=codec.stamp(wants.until),
    )


def filter_from_pb(wants: pb.EventFilter) -> EventFilter:
    """Who wants which events. Raises Invalid."""
    return check_filter(
        EventFilter(
            projects=None if wants.all_projects else frozenset(wants.projects),
            bead_id=wants.bead_id,
            types=tuple(wants.types),
            since=codec.moment(wants.since) if wants.HasField("since") else None,
            until=codec.moment(wants.until) if wants.HasField("until") else None,
        )
    )


def page_from_pb(page: Page) -> EventPage:
    """What a reader gets."""
    return EventPage(tuple(map(event_from_pb, page.events)), Place.parse(page.place), page.more)
