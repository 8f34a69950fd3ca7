"""The journal of events, read in an order that never changes afterwards.

Ids are given when a row is written and seen when its transaction commits, so that one may come to
be seen after a greater one was. Hence events stand in the order of the transactions that wrote
them, and are told only up to the oldest transaction that still runs: what stands before it is all
there, or never will be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from sqlalchemy import Connection, RowMapping, text

from loom.database.steering import Run
from loom.domain.event import START, EventFilter, EventLine, EventPage, Place
from loom.errors import Invalid
from loom.rpc import events
from loom.rpc.v1 import events_pb2 as pb
from loom.rpc.v1 import events_pb2_grpc

NAME = "loom.v1.EventService"
PAGE, LARGEST_PAGE = 50, 500
LARGEST_ANSWER = 8 * 1024 * 1024
LONGEST_WAIT_S = 5.0
POLL_S = 0.5
"""How often a call that waits looks by itself: a transaction that held others up may have ended
without having told."""
PAUSE_S = 0.02
ANSWER_S = 0.2
END = Place(2**63 - 1, 2**63 - 1, 2**63 - 1)

_NOW = text(
    """
    SELECT event_era() AS era,
           CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS xid
    """
)
_COLUMNS = """
    SELECT era, xid, id, message_id, type, project_id, bead_id, epoch, data, correlation_id,
           traceparent, at
      FROM event
"""
_SETTLED = """
     WHERE (era, xid) < (event_era(),
                         CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint))
"""


class Journal:
    """Reads the journal, each command in one transaction."""

    def __init__(
        self, run: Run, count: Callable[[], int], wait: Callable[[int, float], bool]
    ) -> None:
        """count: grows whenever there may be more; wait: until it is another, or False at once."""
        self._run, self._count, self._wait = run, count, wait

    def page(
        self, wants: EventFilter, place: str, limit: int, time_left_s: float, *, newest_first: bool
    ) -> EventPage:
        """Events from a place on. Raises Invalid."""
        at = Place.parse(place) if place else (END if newest_first else START)
        size = page_size(limit, PAGE)
        return self._run(lambda c: read(c, wants, at, size, newest_first=newest_first), time_left_s)

    def watch(
        self, wants: EventFilter, place: str, limit: int, wait_s: float, time_left_s: float
    ) -> EventPage:
        """Events after a place; waits for some. Raises Invalid."""
        if not place:
            return self._run(lambda c: EventPage((), horizon(c)), time_left_s)
        at, size = Place.parse(place), page_size(limit, LARGEST_PAGE)
        ends = time.monotonic() + time_left_s
        give_up = time.monotonic() + min(wait_s, LONGEST_WAIT_S, time_left_s - ANSWER_S)
        while True:
            count = self._count()
            found = self._run(partial(read, wants=wants, at=at, size=size), ends - time.monotonic())
            left_s = give_up - time.monotonic()
            if found.events or left_s <= 0 or not self._wait(count, min(left_s, POLL_S)):
                return found
            at = found.place
            time.sleep(PAUSE_S)


def page_size(limit: int, default: int) -> int:
    """How many events an answer has; 0 asks for the default. Raises Invalid."""
    if not 0 <= limit <= LARGEST_PAGE:
        raise Invalid(f"limit has to be 1 to {LARGEST_PAGE}", field="limit")
    return limit or default


def horizon(connection: Connection) -> Place:
    """The place that no event will come before any more."""
    row = connection.execute(_NOW).one()
    return Place(row.era, row.xid)


def read(
    connection: Connection, wants: EventFilter, at: Place, size: int, *, newest_first: bool = False
) -> EventPage:
    """Events after a place, or before it where the newest come first."""
    # Looked at before the events, it is a place that they certainly reach.
    now = START if newest_first else horizon(connection)
    sign, order = ("<", "DESC") if newest_first else (">", "ASC")
    words: dict[str, Any] = {"era": at.era, "xid": at.xid, "id": at.id, "most": size + 1}
    statement = (
        f"{_COLUMNS} {_SETTLED} AND (era, xid, id) {sign} (:era, :xid, :id) "
        f"{conditions(wants, words)} ORDER BY era {order}, xid {order}, id {order} LIMIT :most"
    )
    found: list[EventLine] = []
    room, more = LARGEST_ANSWER, False
    for row in connection.execute(text(statement), words).mappings():
        event = line(row)
        room -= len(str(event.data)) * 2
        if found and (len(found) == size or room < 0):
            more = True
            break
        found.append(event)
    if more:
        return EventPage(tuple(found), found[-1].place, more=True)
    last = found[-1].place if found else at
    return EventPage(tuple(found), last if newest_first else max(last, now, at))


def conditions(wants: EventFilter, words: dict[str, Any]) -> str:
    """What the filter adds to WHERE; its values go into words."""
    parts = []
    if wants.projects is not None:
        words["projects"] = sorted(wants.projects)
        parts.append("project_id = ANY(:projects)")
    if wants.bead_id:
        words["bead_id"] = wants.bead_id
        parts.append("bead_id = :bead_id")
    if wants.types and "*" not in wants.types:
        words["types"] = [each for each in wants.types if not each.endswith("*")]
        words["prefixes"] = [each[:-1] for each in wants.types if each.endswith("*")]
        parts.append("(type = ANY(:types) OR type ^@ ANY(:prefixes))")
    if wants.since:
        words["since"] = wants.since
        parts.append("at >= :since")
    if wants.until:
        words["until"] = wants.until
        parts.append("at < :until")
    return "".join(f" AND {part}" for part in parts)


def line(row: RowMapping) -> EventLine:
    """A row of the table event."""
    return EventLine(
        place=Place(row["era"], row["xid"], row["id"]),
        id=row["message_id"],
        type=row["type"],
        project_id=row["project_id"],
        bead_id=row["bead_id"],
        epoch=row["epoch"],
        at=row["at"],
        data=row["data"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
    )


class EventService(events_pb2_grpc.EventServiceServicer):
    """Every call of proto/loom/v1/events.proto; errors are raised as Loom's own."""

    def __init__(self, journal: Journal, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._journal = journal
        self._left = left

    def ListEvents(
        self, request: pb.ListEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListEventsResponse:
        page = self._journal.page(
            events.filter_from_pb(request.filter), request.place, request.limit,
            self._left(context), newest_first=request.newest_first,
        )  # fmt: skip
        return pb.ListEventsResponse(
            events=map(events.event_to_pb, page.events), place=str(page.place), more=page.more
        )

    def WatchEvents(
        self, request: pb.WatchEventsRequest, context: grpc.ServicerContext
    ) -> pb.WatchEventsResponse:
        page = self._journal.watch(
            events.filter_from_pb(request.filter), request.place, request.limit,
            request.wait_ms / 1000, self._left(context),
        )  # fmt: skip
        return pb.WatchEventsResponse(
            events=map(events.event_to_pb, page.events), place=str(page.place), more=page.more
        )
