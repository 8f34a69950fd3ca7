"""Events as the HTTP API and webhooks tell them, which is as CloudEvents; and the API's calls.

Source: CloudEvents 1.0.2, the JSON event format; names of extensions have no underscore there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from loom.clients.following import SILENCE_S
from loom.clients.representation import API, project_path, time_to_json
from loom.domain.event import EventFilter, EventLine, EventPage, Place
from loom.errors import Internal

EVENTS = f"{API}/events"
MIME = "application/cloudevents+json"
_SUBJECTS = ("agent_id", "webhook_id", "letter_id", "fingerprint")


def event_to_json(event: EventLine) -> dict[str, Any]:
    """One change of state."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": project_path(event.project_id) if event.project_id else API,
        "type": event.type,
        "subject": subject_of(event),
        "time": time_to_json(event.at),
        "datacontenttype": "application/json",
        "projectid": event.project_id or None,
        "correlationid": event.correlation_id or None,
        "traceparent": event.traceparent or None,
        "place": str(event.place),
        "data": {
            "project_id": event.project_id,
            "bead_id": event.bead_id,
            "epoch": event.epoch,
            **event.data,
        },
    }


def subject_of(event: EventLine) -> str | None:
    """The id of what has changed."""
    named = (str(event.data.get(key) or "") for key in _SUBJECTS)
    return event.bead_id or next((each for each in named if each), "") or event.project_id or None


def event_from_json(document: Mapping[str, Any]) -> EventLine:
    """One change of state."""
    data = document["data"]
    return EventLine(
        place=Place.parse(document["place"]),
        id=document["id"],
        type=document["type"],
        project_id=data["project_id"],
        bead_id=data["bead_id"],
        epoch=data["epoch"],
        at=datetime.fromisoformat(document["time"]),
        data={k: v for k, v in data.items() if k not in ("project_id", "bead_id")},
        correlation_id=document["correlationid"] or "",
        traceparent=document["traceparent"] or "",
    )


def filter_to_query(wants: EventFilter) -> dict[str, Any]:
    """The parameters of an address that ask for the same."""
    query: dict[str, Any] = {
        "project": sorted(wants.projects or ()),
        "bead": wants.bead_id,
        "type": list(wants.types),
        "since": time_to_json(wants.since) or "",
        "until": time_to_json(wants.until) or "",
    }
    return {key: value for key, value in query.items() if value not in ("", [])}


class EventStreamCalls:
    """Calls about events; ControlClient has the others."""

    _get: Callable[..., Any]
    _stream: Callable[..., AbstractContextManager[httpx.Response]]

    def list_events(
        self, wants: EventFilter, limit: int = 50, cursor: str = "", *, newest_first: bool = True
    ) -> EventPage:
        """Events that are wanted, from a place on. Raises Invalid."""
        order = "newest" if newest_first else "oldest"
        query = filter_to_query(wants) | {"limit": limit, "cursor": cursor, "order": order}
        page = self._get(EVENTS, **query)
        events = tuple(map(event_from_json, page["events"]))
        return EventPage(events, Place.parse(page["place"]), page["next_cursor"] is not None)

    def follow_events(
        self, wants: EventFilter, since: str = "now", last_event_id: str = ""
    ) -> Iterator[tuple[str, EventLine | None]]:
        """What happens, until the stream ends or breaks off, each with the place after it.

        A place comes without an event at the beginning and whenever nothing happens for a while.
        since: now, start or a place; last_event_id: after that one instead. Raises Unavailable or
        DeadlineExceeded when the stream breaks off.
        """
        query: Mapping[str, str | Sequence[str]] = filter_to_query(wants) | {"since": since}
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(SILENCE_S, connect=10.0)
        path = f"{EVENTS}/stream"
        with self._stream(path, params=query, headers=headers, timeout=timeout) as answer:
            try:
                for event in EventSource(answer).iter_sse():
                    line = event_from_json(json.loads(event.data)) if event.data else None
                    yield event.id, line
            except SSEError as error:
                raise Internal(f"{path} answers with no stream of events: {error}") from error
