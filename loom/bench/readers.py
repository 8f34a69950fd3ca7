"""Those who watch Loom: a process of its own, so that it measures nobody else's time.

`python -m loom.bench.readers` takes a Wish on one line of its standard input, says `ready` once all
are connected, counts between the lines `begin` and `end`, and prints what it Saw.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import httpx

from loom.bench import opened
from loom.bench.opened import Stream
from loom.clients.representation import API, bead_path

BOARD, OVERVIEW = "/beads", "/"
LEAST_S, MOST_S, PACE_GROWS = 0.6, 4.0, 1.4
"""How soon a page fetches its parts anew after an event: as static/js/live.js does."""
EVERY_S = 12.0
"""And without one."""
POLL_S = 1.0
BROKEN = (OSError, EOFError, httpx.HTTPError)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who is to be there. pages, logs: who follow live. stalled: who take nothing. pollers: who ask
    every second instead, half of them for events and half for lines. crowd: who ask to follow
    events, and come again as they are told to when they are refused.
    """

    url: str
    token: str
    bead_id: str
    pages: int = 0
    logs: int = 0
    stalled: int = 0
    pollers: int = 0
    crowd: int = 0


@dataclass(slots=True)
class Saw:
    """What came. event_ms, line_ms: from the change of state, or the line's writing, to its reader.

    missed: lines that a follower did not get. broken: connections that ended. refused: answers
    by status. cut_s: after how long a stalled reader was cut off.
    """

    event_ms: list[float] = field(default_factory=list)
    line_ms: list[float] = field(default_factory=list)
    refusal_ms: list[float] = field(default_factory=list)
    fragments: dict[str, int] = field(default_factory=dict)
    polls: int = 0
    missed: int = 0
    broken: int = 0
    following: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0


class Readers:
    """All who watch."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._saw = Saw()
        self._headers = {"Authorization": f"Bearer {wish.token}"}
        self._counting = False
        self._waiting = 0
        self._ready = asyncio.Event()

    async def run(self) -> Saw:
        """Watch until standard input says that it is over."""
        wish = self._wish
        lines = await _standard_input()
        watching: list[asyncio.Task[None]] = []
        stalled: list[socket.socket] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=wish.url, headers=self._headers, timeout=30, limits=limits, trust_env=False
        ) as http:
            log = f"{bead_path(wish.bead_id)}/log"
            wanted = [
                *(self._page(http, (BOARD, OVERVIEW)[n % 2]) for n in range(wish.pages)),
                *(self._log(f"{log}/stream?from=now") for _ in range(wish.logs)),
                *(
                    self._poll_events(http) if n % 2 else self._poll_lines(http, log)
                    for n in range(wish.pollers)
                ),
                *(self._crowd() for _ in range(wish.crowd)),
            ]
            self._waiting = len(wanted)
            watching += [asyncio.create_task(each) for each in wanted]
            for _ in range(wish.stalled):
                stalled.append(opened.stalled(wish.url, f"{log}/stream", self._headers))
            if wanted:
                await self._ready.wait()
            print("ready", flush=True)
            async for line in lines:
                self._counting = line == "begin"
                if line == "end":
                    break
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            for each in stalled:
                each.close()
        return self._saw

    def _is_ready(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._ready.set()

    async def _page(self, http: httpx.AsyncClient, path: str) -> None:
        """A page that is open in a browser."""
        happened = asyncio.Event()
        path_of_stream = f"{API}/events/stream?since=now"
        refreshing = asyncio.create_task(self._refresh(http, path, happened))
        try:
            async for document in self._documents(path_of_stream):
                if self._counting:
                    self._saw.event_ms.append(_since(document["time"]))
                happened.set()
        finally:
            refreshing.cancel()

    async def _refresh(self, http: httpx.AsyncClient, path: str, happened: asyncio.Event) -> None:
        etag, last, pace = "", time.monotonic(), LEAST_S
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(happened.wait(), EVERY_S)
                since = time.monotonic() - last
                pace = min(MOST_S, pace * PACE_GROWS) if since < 2 * pace else LEAST_S
                await asyncio.sleep(max(0.06, pace - since) + random.random() / 4)  # noqa: S311
            happened.clear()
            last = time.monotonic()
            headers = {"X-Fragment": "main", "Accept": "text/html"}
            if etag:
                headers["If-None-Match"] = etag
            answer = await http.get(path, headers=headers)
            etag = answer.headers.get("ETag", "")
            if self._counting:
                _add(self._saw.fragments, answer.status_code)

    async def _log(self, path: str) -> None:
        """A log that somebody reads live."""
        number = 0
        async for document in self._documents(path):
            if "text" in document:
                number = self._line(document["text"], number)

    def _line(self, text: str, before: int) -> int:
        """Count a line that the bead's command has numbered and dated; its number."""
        try:
            number, at_ns = map(int, text.split()[:2])
        except ValueError:
            return before
        if self._counting:
            self._saw.line_ms.append((time.time_ns() - at_ns) / 1e6)
            self._saw.missed += number - before - 1 if before else 0
        return number

    async def _documents(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The data of a stream's events."""
        try:
            while True:
                async with Stream(self._wish.url, path, self._headers) as stream:
                    if stream.status == httpx.codes.OK:
                        self._is_ready()
                        self._saw.following += 1
                        async for line in stream.lines():
                            if line.startswith(b"data: "):
                                yield json.loads(line[6:])
                        self._saw.broken += 1
                        return
                # Those of the phase before have not given back all of their places yet.
                _add(self._saw.refused, stream.status)
                await asyncio.sleep(POLL_S)
        except BROKEN:
            self._saw.broken += 1

    async def _poll_events(self, http: httpx.AsyncClient) -> None:
        """A dashboard without a stream."""
        page = (await http.get(f"{API}/events", params={"limit": 1})).json()
        place = page["place"]

        async def poll() -> None:
            nonlocal place
            query = {"order": "oldest", "cursor": place, "limit": 500}
            page = (await http.get(f"{API}/events", params=query)).json()
            place = page["place"]
            if self._counting:
                self._saw.event_ms.extend(_since(event["time"]) for event in page["events"])

        # The newest event's place, as a list that goes back from now has begun there.
        place = page["events"][0]["place"]
        await self._every_second(poll)

    async def _poll_lines(self, http: httpx.AsyncClient, log: str) -> None:
        """A page that asks for a log's new lines."""
        cursor = (await http.get(log, params={"from": "now"})).json()["next_cursor"]
        number = 0

        async def poll() -> None:
            nonlocal cursor, number
            page = (await http.get(log, params={"cursor": cursor})).json()
            cursor = page["next_cursor"]
            for line in page["lines"]:
                number = self._line(line["text"], number)

        await self._every_second(poll)

    async def _every_second(self, poll: Callable[[], Any]) -> None:
        self._is_ready()
        await asyncio.sleep(random.random() * POLL_S)  # noqa: S311 - they did not come together
        due = time.monotonic()
        while True:
            try:
                await poll()
                self._saw.polls += self._counting
            except BROKEN:
                self._saw.broken += 1
            due += POLL_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _crowd(self) -> None:
        """One of more than there are places for."""
        tried = False
        while True:
            asked = time.monotonic()
            wait_s = 1.0
            try:
                async with Stream(
                    self._wish.url, f"{API}/events/stream?since=now", self._headers
                ) as stream:
                    if not tried:
                        tried = True
                        self._is_ready()
                    if stream.status == httpx.codes.OK:
                        self._saw.following += 1
                        async for _ in stream.lines():
                            pass
                    else:
                        self._saw.refusal_ms.append((time.monotonic() - asked) * 1000)
                        _add(self._saw.refused, stream.status)
                        if "retry-after" in stream.headers:
                            wait_s = float(stream.headers["retry-after"])
                        else:
                            self._saw.without_retry_after += 1
            except BROKEN:
                self._saw.broken += 1
            await asyncio.sleep(wait_s)


def _add(counts: dict[str, int], status: int) -> None:
    counts[str(status)] = counts.get(str(status), 0) + 1


def _since(text: str) -> float:
    """Milliseconds since then, by the same machine's clock."""
    return (time.time() - datetime.fromisoformat(text).timestamp()) * 1000


async def _standard_input() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def lines() -> AsyncIterator[str]:
        async for line in reader:
            yield line.decode().strip()

    return lines()


def main() -> None:
    """Read the wish, and watch."""
    wish = Wish(**json.loads(sys.stdin.readline()))

    async def watch() -> Saw:
        return await Readers(wish).run()

    print(json.dumps(asdict(asyncio.run(watch()))), flush=True)


if __name__ == "__main__":
    main()
