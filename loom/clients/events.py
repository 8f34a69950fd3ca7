"""The calls of the database service about the journal of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.domain.event import EventFilter, EventPage, Place
from loom.rpc import events
from loom.rpc.v1 import events_pb2 as pb
from loom.rpc.v1 import events_pb2_grpc

ALL = EventFilter()


class EventCalls:
    """Calls of the EventService; DatabaseClient has the others."""

    _events: events_pb2_grpc.EventServiceStub
    _call: Callable[..., Any]

    def list_events(
        self, wants: EventFilter = ALL, place: Place | None = None, limit: int = 0,
        *, newest_first: bool = True,
    ) -> EventPage:  # fmt: skip
        """Events that are wanted, from a place on. Raises Invalid."""
        answer = self._call(
            self._events.ListEvents,
            pb.ListEventsRequest(
                filter=events.filter_to_pb(wants),
                place=str(place) if place else "",
                newest_first=newest_first,
                limit=limit,
            ),
        )
        return events.page_from_pb(answer)

    def watch_events(
        self, place: Place | None = None, wants: EventFilter = ALL, limit: int = 0,
        wait_ms: int = 0,
    ) -> EventPage:  # fmt: skip
        """Events after a place, oldest first; waits for some. Without a place: where now is."""
        answer = self._call(
            self._events.WatchEvents,
            pb.WatchEventsRequest(
                filter=events.filter_to_pb(wants),
                place=str(place) if place else "",
                limit=limit,
                wait_ms=wait_ms,
            ),
            wait_ms / 1000,
        )
        return events.page_from_pb(answer)
