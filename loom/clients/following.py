"""Logs of attempts as the HTTP API shows them, and the calls that read and follow them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from loom.clients.representation import bead_path, time_to_json
from loom.domain.log import LineKind, LogCursor, LogLine, LogPage, LogState, PlacedLine
from loom.errors import Internal

LINE, ATTEMPT, END = "line", "attempt", "end"
"""The kinds of events of a stream."""
SILENCE_S = 45.0
"""How long a stream may say nothing: it gives a sign of life every 15 s."""


def log_path(bead_id: str) -> str:
    """Where the log of a bead is."""
    return f"{bead_path(bead_id)}/log"


def placed_to_json(placed: PlacedLine) -> dict[str, Any]:
    """A line, with the place after it."""
    line = placed.line
    return {
        "cursor": str(placed.cursor),
        "attempt": placed.cursor.epoch,
        "at": time_to_json(line.at),
        "step": line.step,
        "kind": line.kind.value,
        "text": line.text,
        "more": line.more,
    }


def placed_from_json(document: Mapping[str, Any]) -> PlacedLine:
    """A line, with the place after it."""
    return PlacedLine(
        LogCursor.parse(document["cursor"]),
        LogLine(
            at=datetime.fromisoformat(document["at"]),
            text=document["text"],
            step=document["step"],
            kind=LineKind(document["kind"]),
            more=document["more"],
        ),
    )


def page_to_json(bead_id: str, page: LogPage) -> dict[str, Any]:
    """Some lines of a log."""
    return {
        "bead_id": bead_id,
        "attempt": page.next.epoch or None,
        "lines": [placed_to_json(each) for each in page.lines],
        "next_cursor": str(page.next),
        "state": page.state.value,
        "links": {"bead": bead_path(bead_id), "stream": f"{log_path(bead_id)}/stream"},
    }


def as_text(line: LogLine) -> str:
    """A line as people read it, with its line end."""
    if line.kind is LineKind.BEGIN:
        return f"=== {line.step}: {line.text}\n" if line.text else f"=== {line.step}\n"
    if line.kind is LineKind.END:
        return f"=== {line.step} {line.text}\n"
    return line.text if line.more else f"{line.text}\n"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """What a stream says: a line, that another attempt begins, or that the log has ended.

    id: from where to go on after it. data: of all but lines.
    """

    kind: str
    id: str
    line: LogLine | None = None
    data: Mapping[str, Any] | None = None


class FollowingCalls:
    """Calls about logs; ControlClient has the others."""

    _get: Callable[..., Any]
    _stream: Callable[..., AbstractContextManager[httpx.Response]]

    def read_log(
        self, bead_id: str, attempt: int = 0, cursor: str = "", limit: int = 1_000
    ) -> LogPage:
        """Lines after a place; of the newest attempt on if attempt is 0. Raises NotFound."""
        words = {"attempt": attempt} if attempt else {}
        page = self._get(log_path(bead_id), cursor=cursor, limit=limit, **words)
        return LogPage(
            tuple(map(placed_from_json, page["lines"])),
            LogCursor.parse(page["next_cursor"]),
            LogState(page["state"]),
        )

    def end_of_log(self, bead_id: str, attempt: int = 0) -> LogCursor:
        """The place after all that was said so far. Raises NotFound."""
        words: dict[str, str | int] = {"attempt": attempt} if attempt else {}
        page = self._get(log_path(bead_id), **{"from": "now"}, **words)
        return LogCursor.parse(page["next_cursor"])

    def follow_log(
        self, bead_id: str, attempt: int = 0, start: str = "start", last_event_id: str = ""
    ) -> Iterator[LogEvent]:
        """What a log says, until the stream ends or breaks off; an end event comes at its end.

        start: start or now; last_event_id: after that event instead. Raises NotFound; Unavailable
        or DeadlineExceeded when the stream breaks off.
        """
        query: dict[str, str | int] = {"from": start}
        if attempt:
            query["attempt"] = attempt
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(SILENCE_S, connect=10.0)
        path = f"{log_path(bead_id)}/stream"
        with self._stream(path, params=query, headers=headers, timeout=timeout) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                yield LogEvent(END, last_event_id, data={})
                return
            try:
                for event in EventSource(answer).iter_sse():
                    if not event.data:
                        continue  # it says how soon to come back, and nothing more
                    data = json.loads(event.data)
                    line = placed_from_json(data).line if event.event == LINE else None
                    yield LogEvent(event.event, event.id, line, None if line else data)
            except SSEError as error:
                raise Internal(f"{path} answers with no stream of events: {error}") from error
