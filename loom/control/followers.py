"""Whoever follows logs: one call waits at the ledger for all of them, and each reads at its pace.

What one follower has read serves those at the same place; a follower that takes nothing holds a
thread and a place of its own, and nothing of the ledger's.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from loom.clients.following import ATTEMPT, END, LINE, placed_to_json
from loom.clients.representation import time_to_json
from loom.control.streaming import frame
from loom.domain.bead import Bead
from loom.domain.log import LogCursor, LogPage, LogState
from loom.errors import Exhausted, LoomError, NotFound
from loom.telemetry import logs

HEARTBEAT_S = 15.0
LOOK_S = 1.0
"""How often a follower that waits looks whether its reader is still there."""
WATCH_MS = 500
PACE_S = 0.1
"""The least time between two calls that watch."""
AGAIN_S = 1.0
"""After the ledger was away."""
FULL_S = (15, 45)
"""When to come again where no place is free: not all that were refused together come together."""
PAGE_LINES = 250
PAGES = 32
"""How many pages are kept for followers at the same place."""

log = logs.get(__name__)


class Ledger(Protocol):
    """The calls of the database service that followers need."""

    def get_bead(self, bead_id: str) -> Bead: ...

    def read_log(
        self, bead_id: str, epoch: int = 0, cursor: str = "", limit: int = 0,
        *, from_now: bool = False,
    ) -> LogPage: ...  # fmt: skip

    def watch_logs(self, known: Mapping[str, str], wait_ms: int = 0) -> Mapping[str, str]: ...


@dataclass(slots=True)
class _Watched:
    """A bead that somebody follows. version: grows whenever its log may have more."""

    followers: int = 0
    mark: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """A page as it goes out."""

    frames: bytes
    page: LogPage


class Followers:
    """The followers of one process: at most as many as there are places."""

    def __init__(
        self,
        ledger: Ledger,
        places: int,
        stopping: threading.Event | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """stopping: ends every stream, so that its reader goes on elsewhere."""
        self._ledger = ledger
        self._most = places
        self._places = threading.BoundedSemaphore(places)
        self._stopping = stopping or threading.Event()
        self._heartbeat_s = heartbeat_s
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._watching = False
        self._pages: OrderedDict[tuple[Any, ...], Future[_Read]] = OrderedDict()

    def take_place(self) -> Callable[[], None]:
        """What gives the place back, once. Raises Exhausted when none is free."""
        if not self._places.acquire(blocking=False):
            wait_s = random.randint(*FULL_S)  # noqa: S311 - it spreads them, and hides nothing
            raise Exhausted(
                f"{self._most} readers follow logs and events here, which is as many as may: ask "
                f"again in {wait_s} s, or read in pages",
                retry_after_s=str(wait_s),
            )
        given = threading.Lock()

        def give_back() -> None:
            if given.acquire(blocking=False):
                self._places.release()

        return give_back

    @contextmanager
    def placed(self) -> Iterator[Callable[[], None]]:
        """A place, to be had before anything is asked of the ledger, so that who finds none costs
        it nothing. It is given back if the block raises, else by whoever got what gives it back.
        """
        give_back = self.take_place()
        try:
            yield give_back
        except BaseException:
            give_back()
            raise

    def follow(
        self, bead_id: str, epoch: int, cursor: str, gone: Callable[[], bool] = lambda: False
    ) -> Iterator[bytes]:
        """The stream of one reader, in server-sent events, until the log has ended.

        gone: whether the reader is. Source: html.spec.whatwg.org, server-sent events.
        """
        yield b"retry: 1000\n\n"
        said_at = time.monotonic()
        with self._watch(bead_id) as watched:
            while not self._stopping.is_set():
                version = watched.version
                try:
                    read = self._read(bead_id, epoch, cursor, version)
                    ended = read.page.state is LogState.ENDED
                    last = self._end(bead_id, read.page) if ended else b""
                except NotFound:
                    return
                except LoomError as error:
                    log.info("log_not_read", bead_id=bead_id, why=error.detail)
                    yield b": the ledger is away\n\n"
                    if gone() or self._stopping.wait(AGAIN_S):
                        return
                    continue
                cursor = str(read.page.next)
                if said := read.frames + last:
                    yield said
                    said_at = time.monotonic()
                if ended:
                    return
                if read.page.state is LogState.MORE:
                    continue
                again_at = time.monotonic() + read.page.again_s if read.page.again_s else None
                while not self._wait(watched, version, again_at):
                    if gone():
                        return
                    if time.monotonic() - said_at >= self._heartbeat_s:
                        yield b": still here\n\n"
                        said_at = time.monotonic()

    def _wait(self, watched: _Watched, version: int, again_at: float | None) -> bool:
        """Wait a little; whether it is time to read again."""
        now = time.monotonic()
        wait_s = LOOK_S if again_at is None else max(0.0, min(LOOK_S, again_at - now))
        with self._changed:
            self._changed.wait_for(
                lambda: watched.version != version or self._stopping.is_set(), wait_s
            )
            if watched.version != version or self._stopping.is_set():
                return True
        return again_at is not None and time.monotonic() >= again_at

    def _read(self, bead_id: str, epoch: int, cursor: str, version: int) -> _Read:
        """A page, read once for all who ask at the same place while nothing has changed."""
        key = (bead_id, epoch, cursor, version)
        with self._changed:
            future = self._pages.get(key)
            mine = future is None
            if future is None:
                future = self._pages[key] = Future()
                while len(self._pages) > PAGES:
                    self._pages.popitem(last=False)
        if mine:
            try:
                page = self._ledger.read_log(bead_id, epoch, cursor, PAGE_LINES)
                future.set_result(_Read(_frames(cursor, page), page))
            except BaseException as error:  # noqa: BLE001 - whatever it is, all who wait get it
                future.set_exception(error)
        if future.exception() is not None or future.result().page.again_s:
            # The next answer may be another one although nothing was told.
            with self._changed:
                if self._pages.get(key) is future:
                    del self._pages[key]
        return future.result()

    def _end(self, bead_id: str, page: LogPage) -> bytes:
        bead = self._ledger.get_bead(bead_id)
        words = {
            "bead_id": bead_id,
            "attempt": page.next.epoch or None,
            "state": bead.state.value,
            "resolution": bead.resolution.value if bead.resolution else None,
            "reason": bead.reason,
            "at": time_to_json(bead.updated_at),
        }
        return frame(END, str(page.next), words)

    @contextmanager
    def _watch(self, bead_id: str) -> Iterator[_Watched]:
        with self._changed:
            watched = self._watched.setdefault(bead_id, _Watched())
            watched.followers += 1
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._keep_watching, name="log-watch", daemon=True).start()
        try:
            yield watched
        finally:
            with self._changed:
                watched.followers -= 1
                if not watched.followers:
                    del self._watched[bead_id]

    def _keep_watching(self) -> None:
        """Ask the ledger for all beads that are followed, until none is."""
        while True:
            with self._changed:
                if not self._watched or self._stopping.is_set():
                    self._watching = False
                    self._changed.notify_all()
                    return
                known = {bead_id: watched.mark for bead_id, watched in self._watched.items()}
            began = time.monotonic()
            try:
                differ = self._ledger.watch_logs(known, WATCH_MS)
            except LoomError as error:
                log.info("logs_not_watched", why=error.detail)
                self._stopping.wait(AGAIN_S)
                continue
            except Exception:
                log.exception("watch_failed")
                self._stopping.wait(AGAIN_S)
                continue
            with self._changed:
                for bead_id, mark in differ.items():
                    if bead_id in self._watched:
                        self._watched[bead_id].mark = mark
                        self._watched[bead_id].version += 1
                self._changed.notify_all()
            self._stopping.wait(max(0.0, PACE_S - (time.monotonic() - began)))


def _frames(cursor: str, page: LogPage) -> bytes:
    """The page's lines as events, and one for each attempt that begins with them."""
    epoch = LogCursor.parse(cursor).epoch if cursor else 0
    frames = []
    for placed in page.lines:
        if placed.cursor.epoch != epoch:
            epoch = placed.cursor.epoch
            frames.append(frame(ATTEMPT, str(LogCursor(epoch)), {"attempt": epoch}))
        frames.append(frame(LINE, str(placed.cursor), placed_to_json(placed)))
    if page.next.epoch != epoch:
        frames.append(frame(ATTEMPT, str(page.next), {"attempt": page.next.epoch}))
    return b"".join(frames)
