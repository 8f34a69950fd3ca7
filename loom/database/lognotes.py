"""Which log lines are kept, and what of them a reader gets, decided on values.

The database service and its fake carry out the same decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from loom.domain.lifecycle import State
from loom.domain.log import (
    KEPT_ATTEMPT_BYTES,
    LineKind,
    LogChunk,
    LogCursor,
    LogLine,
    LogPage,
    LogState,
    LogVerdict,
    PlacedLine,
)
from loom.errors import Invalid

LATE_S = 600.0
"""How long after its end an attempt's last lines are taken in: they take another way than its
result, which may be faster."""
GAP_S = 3.0
"""How long a missing chunk is waited for once a later one is there."""
REST_S = 5.0
"""How long the rest of a log is waited for once its attempt has ended."""
PAGE, LARGEST_PAGE = 1_000, 5_000
CHUNKS = 128
"""Most chunks that one page is made of."""

_REPORTED = frozenset({"succeeded", "failed"})


@dataclass(frozen=True, slots=True)
class Teller:
    """An attempt whose lines come. ended_s: seconds since its end; None while it runs.

    held: its lease lasts. size: what is kept of it, in bytes.
    """

    project_id: str
    newest: bool
    outcome: str
    held: bool
    ended_s: float | None
    size: int

    @property
    def listened_to(self) -> bool:
        """What it says is kept: it holds the bead, or reported at its end, not long ago."""
        if not self.newest:
            return False
        if self.outcome == "running":
            return self.held
        return self.outcome in _REPORTED and (self.ended_s or 0.0) <= LATE_S


def judge(chunk: LogChunk, teller: Teller | None, sizes: int) -> LogVerdict:
    """What becomes of a chunk that is not kept yet. sizes: of those kept before it in its batch."""
    if teller is None or teller.project_id != chunk.project_id:
        return LogVerdict.UNKNOWN
    if not teller.listened_to:
        return LogVerdict.STALE
    if teller.size + sizes + chunk.size > KEPT_ATTEMPT_BYTES:
        return LogVerdict.FULL
    return LogVerdict.KEPT


@dataclass(frozen=True, slots=True)
class Told:
    """A chunk as it is kept. at: when it came, age_s seconds ago."""

    seq: int
    first: int
    lines: tuple[LogLine, ...]
    at: datetime
    age_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of an attempt whose log is read.

    last: the seq of its last chunk; 0 while it is not known. later: the epoch of the attempt after
    it; 0 for none. settled: its bead is closed or blocked. teller: None before any attempt.
    """

    teller: Teller | None
    last: int
    later: int
    settled: bool


def settled(state: str) -> bool:
    """Nothing more happens by itself to a bead in this state."""
    return state in (State.CLOSED.value, State.BLOCKED.value)


def page_size(asked: int) -> int:
    """How many lines a page has at most; raises Invalid."""
    if not 0 <= asked <= LARGEST_PAGE:
        raise Invalid(f"limit has to be 1 to {LARGEST_PAGE}", field="limit")
    return asked or PAGE


def read(
    start: LogCursor, chunks: Sequence[Told], about: Reading, limit: int, *, pinned: bool
) -> LogPage:
    """The lines after a place, of chunks of its attempt from the place's own on, in their order.

    pinned: this attempt alone is read. Lines that did not come are told of once nobody waits for
    them any more.
    """
    lines: list[PlacedLine] = []
    place, number = start, 1 if start.seq == 0 else 0
    wait_s = 0.0
    final = about.teller is not None and not about.teller.listened_to
    for chunk in chunks:
        if chunk.seq > place.seq + 1:
            wait_s = 0.0 if final else max(0.0, GAP_S - chunk.age_s)
            if wait_s:
                break
            place = LogCursor(place.epoch, chunk.seq - 1)
            lines.append(PlacedLine(place, _missing(chunk, number)))
        skip = place.line if chunk.seq == place.seq else 0
        for index, line in enumerate(chunk.lines[skip:], skip + 1):
            if len(lines) >= limit:
                return LogPage(tuple(lines), place, LogState.MORE)
            place = LogCursor(place.epoch, chunk.seq, index)
            lines.append(PlacedLine(place, line))
        place = LogCursor(place.epoch, chunk.seq, len(chunk.lines))
        number = chunk.first + len(chunk.lines)
    if len(chunks) >= CHUNKS and not wait_s:
        return LogPage(tuple(lines), place, LogState.MORE)
    return _end(lines, place, about, wait_s, pinned=pinned)


def _end(
    lines: Sequence[PlacedLine], place: LogCursor, about: Reading, wait_s: float, *, pinned: bool
) -> LogPage:
    """The page at whose end the log stands as it is now."""
    teller = about.teller
    if teller is not None and teller.outcome == "running" and not about.later:
        return LogPage(tuple(lines), place, LogState.QUIET, wait_s)
    whole = about.last and place.seq >= about.last
    if not wait_s and teller is not None and teller.listened_to and not whole:
        wait_s = max(0.0, REST_S - (teller.ended_s or 0.0))
    if wait_s:
        return LogPage(tuple(lines), place, LogState.QUIET, wait_s)
    if about.later and not pinned:
        return LogPage(tuple(lines), LogCursor(about.later), LogState.MORE)
    ended = (pinned and teller is not None) or about.settled
    return LogPage(tuple(lines), place, LogState.ENDED if ended else LogState.QUIET)


def _missing(chunk: Told, number: int) -> LogLine:
    """What stands where lines before the chunk did not come. number: of the first; 0: unknown."""
    count = chunk.first - number if number else 0
    words = {0: "some lines", 1: "1 line"}.get(max(count, 0), f"{count} lines")
    return LogLine(chunk.at, f"… {words} did not arrive here", kind=LineKind.LEFT_OUT)


def mark(version: int, epoch: int, chunks: int) -> str:
    """Stands for all that may change what a reader gets, but the time.

    chunks: of the newest attempt, whose epoch it is; others get none.
    """
    return f"{version}.{epoch}.{chunks}"
