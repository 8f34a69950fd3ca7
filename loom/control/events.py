"""The routes of events: listed, and followed as they happen."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from loom.clients.eventstream import event_to_json
from loom.control.access import principal
from loom.control.answers.events import EventPageOut
from loom.control.feed import Events, Feed
from loom.control.followers import Followers
from loom.control.operation import Content, operation
from loom.control.requests.events import EventQuery, StreamQuery
from loom.control.requests.reading import read_query
from loom.control.streaming import EVENTS, reader_left, streamed
from loom.domain.event import START, Place


def routes(ledger: Events, feed: Feed, followers: Followers) -> Blueprint:
    """List events and follow them. followers: of this process, who share its places."""
    blueprint = Blueprint("events", __name__)

    @blueprint.get("/events")
    @operation("List events, newest or oldest first", query=EventQuery, answers={200: EventPageOut})
    def list_all() -> Response:
        query = read_query(EventQuery, request.args.to_dict(flat=False))
        page = ledger.list_events(
            query.wanted(principal().visible()),
            Place.parse(query.cursor) if query.cursor else None,
            query.limit,
            newest_first=query.order == "newest",
        )
        return jsonify(
            {
                "events": [event_to_json(event) for event in page.events],
                "place": str(page.place),
                "next_cursor": str(page.place) if page.more else None,
            }
        )

    @blueprint.get("/events/stream")
    @operation(
        "Follow events as they happen", query=StreamQuery, answers={200: Content(EVENTS)},
        refuses=("exhausted",),
    )  # fmt: skip
    def stream() -> Response:
        query = read_query(StreamQuery, request.args.to_dict(flat=False))
        since = request.headers.get("Last-Event-ID") or query.since
        with followers.placed() as give_back:
            if since == "now":
                place = ledger.watch_events().place
            else:
                place = START if since == "start" else Place.parse(since)
            frames = feed.follow(query.filter(principal().visible()), place, reader_left())
            return streamed(frames, EVENTS, give_back)

    return blueprint
