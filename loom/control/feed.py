"""Whoever follows events: one call waits at the ledger for all of them, and each reads at its pace.

The newest events are kept here for those who are up to date; whoever is further behind reads the
ledger until they are. A follower that takes nothing holds a thread, and nobody else up.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from loom.clients.eventstream import event_to_json
from loom.control.streaming import frame
from loom.domain.event import EventFilter, EventLine, EventPage, Place
from loom.errors import LoomError
from loom.telemetry import logs

HEARTBEAT_S = 15.0
LONGEST_S = 900.0
"""After this a stream ends and its reader comes again, by the rights that it has by then."""
LOOK_S = 1.0
"""How often a follower that waits looks whether its reader is still there."""
WATCH_MS = 2_000
AGAIN_S = 1.0
"""After the ledger was away."""
PIECE = 250
"""How many events are looked through before some go out."""
KEPT = 4_000
"""How many of the newest events are kept; half of them go when there are more."""

log = logs.get(__name__)

ALL = EventFilter()


class Events(Protocol):
    """The calls of loom.clients.events.EventCalls that the API stands on."""

    def list_events(
        self, wants: EventFilter = ALL, place: Place | None = None, limit: int = 0,
        *, newest_first: bool = True,
    ) -> EventPage:  # fmt: skip
        """Events that are wanted, from a place on."""

    def watch_events(
        self, place: Place | None = None, wants: EventFilter = ALL, limit: int = 0,
        wait_ms: int = 0,
    ) -> EventPage:  # fmt: skip
        """Events after a place; waits for some. Without a place: where now is."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event as it goes out, made once for all."""

    event: EventLine
    frame: bytes


@dataclass(frozen=True, slots=True)
class _Next:
    """What goes out next, and the place after it; more: there may be some already."""

    frames: bytes
    place: Place
    more: bool


class Feed:
    """The events of one process's followers."""

    def __init__(
        self,
        ledger: Events,
        stopping: threading.Event | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        """stopping: ends every stream, so that its reader goes on elsewhere."""
        self._ledger = ledger
        self._stopping = stopping or threading.Event()
        self._heartbeat_s, self._longest_s = heartbeat_s, longest_s
        self._changed = threading.Condition()
        self._followers = 0
        self._watching = False
        self._newest: list[_Kept] = []
        self._places: list[Place] = []
        self._begin: Place | None = None
        """Every event after it, up to _end, is kept; None while nobody watches."""
        self._end = Place()

    def follow(
        self, wants: EventFilter, place: Place, gone: Callable[[], bool] = lambda: False
    ) -> Iterator[bytes]:
        """The stream of one reader, in server-sent events. gone: whether the reader is."""
        yield f"retry: 1000\nid: {place}\n\n".encode()
        said_at = began_at = time.monotonic()
        with self._joined():
            while not self._stopping.is_set():
                try:
                    found = self._next(wants, place)
                except LoomError as error:
                    log.info("events_not_read", why=error.detail)
                    yield b": the ledger is away\n\n"
                    if gone() or self._stopping.wait(AGAIN_S):
                        return
                    continue
                place = found.place
                if found.frames:
                    yield found.frames
                    said_at = time.monotonic()
                elif gone():
                    return
                now = time.monotonic()
                if now - began_at >= self._longest_s:
                    return
                if now - said_at >= self._heartbeat_s:
                    # With its place: a reader that wants little need not search it all again.
                    yield f": still here\nid: {place}\n\n".encode()
                    said_at = now
                if not found.more:
                    self._wait(place)

    def _next(self, wants: EventFilter, place: Place) -> _Next:
        with self._changed:
            if self._begin is not None and place >= self._begin:
                first = bisect_right(self._places, place)
                piece = self._newest[first : first + PIECE]
                more = first + PIECE < len(self._newest)
                after = piece[-1].event.place if more else max(place, self._end)
            else:
                piece = None
        if piece is None:
            page = self._ledger.watch_events(place, wants, PIECE)
            return _Next(b"".join(map(_frame, page.events)), page.place, page.more)
        frames = b"".join(each.frame for each in piece if wants.takes(each.event))
        return _Next(frames, after, more)

    def _wait(self, place: Place) -> None:
        """Wait a little for events after the place."""
        with self._changed:
            self._changed.wait_for(
                lambda: (self._begin is not None and self._end > place) or self._stopping.is_set(),
                LOOK_S,
            )

    @contextmanager
    def _joined(self) -> Iterator[None]:
        with self._changed:
            self._followers += 1
            if not self._watching:
                self._watching = True
                threading.Thread(
                    target=self._keep_watching, name="event-watch", daemon=True
                ).start()
        try:
            yield
        finally:
            with self._changed:
                self._followers -= 1

    def _keep_watching(self) -> None:
        """Ask the ledger for all who follow, until nobody does."""
        while True:
            with self._changed:
                if not self._followers or self._stopping.is_set():
                    self._watching, self._begin = False, None
                    self._newest, self._places = [], []
                    self._changed.notify_all()
                    return
                place = self._end if self._begin is not None else None
            try:
                page = self._ledger.watch_events(place, wait_ms=WATCH_MS if place else 0)
            except LoomError as error:
                log.info("events_not_watched", why=error.detail)
                self._stopping.wait(AGAIN_S)
                continue
            except Exception:
                log.exception("event_watch_failed")
                self._stopping.wait(AGAIN_S)
                continue
            kept = [_Kept(event, _frame(event)) for event in page.events]
            with self._changed:
                if place is None:
                    self._begin = page.place
                self._end = page.place
                self._newest += kept
                self._places += [each.event.place for each in kept]
                if len(self._newest) > KEPT:
                    self._begin = self._places[-KEPT // 2 - 1]
                    del self._newest[: -KEPT // 2], self._places[: -KEPT // 2]
                self._changed.notify_all()


def _frame(event: EventLine) -> bytes:
    return frame(event.type, str(event.place), event_to_json(event))
