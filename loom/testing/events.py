"""The part of FakeLedger about the journal of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from loom.database.changes import Event
from loom.database.journal import LARGEST_PAGE, PAGE, page_size
from loom.domain.event import EventFilter, EventLine, EventPage, Place, check_filter

ALL = EventFilter()


class FakeEvents:
    """Calls about events, on memory, where every transaction is over at once."""

    _added: Any
    _now: datetime

    def __init__(self) -> None:
        self._journal: list[EventLine] = []

    def _tell(self, event: Event, message_id: str) -> None:
        number = len(self._journal) + 1
        self._journal.append(
            EventLine(
                Place(1, number, number), message_id, event.type, event.project_id, event.bead_id,
                event.epoch, self._now, dict(event.data), event.correlation_id, event.traceparent,
            )
        )  # fmt: skip

    def list_events(
        self, wants: EventFilter = ALL, place: Place | None = None, limit: int = 0,
        *, newest_first: bool = True,
    ) -> EventPage:  # fmt: skip
        """As the client."""
        check_filter(wants)
        size = page_size(limit, PAGE)
        if not newest_first:
            return self._after(place or Place(), wants, size)
        with self._added:
            found = [
                event
                for event in reversed(self._journal)
                if (place is None or event.place < place) and wants.takes(event)
            ]
        last = found[:size][-1].place if found else place or self._newest()
        return EventPage(tuple(found[:size]), last, len(found) > size)

    def watch_events(
        self, place: Place | None = None, wants: EventFilter = ALL, limit: int = 0,
        wait_ms: int = 0,
    ) -> EventPage:  # fmt: skip
        """As the client."""
        check_filter(wants)
        size = page_size(limit, LARGEST_PAGE)
        with self._added:
            if place is None:
                return EventPage((), self._newest())
            if wait_ms:
                self._added.wait_for(lambda: self._after(place, wants, 1).events, wait_ms / 1000)
            return self._after(place, wants, size)

    def _after(self, place: Place, wants: EventFilter, size: int) -> EventPage:
        with self._added:
            found = [e for e in self._journal if e.place > place and wants.takes(e)]
            end = max(place, self._newest())
        if len(found) > size:
            return EventPage(tuple(found[:size]), found[size - 1].place, more=True)
        return EventPage(tuple(found), end)

    def _newest(self) -> Place:
        return self._journal[-1].place if self._journal else Place()
