"""The live log of an attempt: its lines, the chunks in which they travel, and places in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from loom.errors import Invalid

MAX_LINE_BYTES = 8 * 1024
"""Of one line; what is beyond is counted, and left out."""
LINE_OVERHEAD = 64
"""What a line counts besides its bytes, so that a flood of empty ones is limited too."""
MAX_ATTEMPT_BYTES = 8 * 1024 * 1024
"""Of the lines of one attempt, as its agent counts them."""
KEPT_ATTEMPT_BYTES = MAX_ATTEMPT_BYTES + 2 * 1024 * 1024
"""The same as the ledger counts them, with room for the marks, which the agent lets through."""
MAX_CHUNK_LINES = 1_000

_CURSOR = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,9})")


class LineKind(StrEnum):
    """What a line of a log is."""

    OUT = "out"
    """A command wrote it."""
    BEGIN = "begin"
    """A step begins; its text is the command."""
    END = "end"
    """A step has ended; its text says how."""
    LEFT_OUT = "left_out"
    """Lines are missing here; its text says how many, and why."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line. at: when the agent had it. step: the one it belongs to; empty for none.

    text: control sequences as they came, no line end. more: the line goes on in the next of its
    step: the command had not ended it yet.
    """

    at: datetime
    text: str
    step: str = ""
    kind: LineKind = LineKind.OUT
    more: bool = False

    @property
    def size(self) -> int:
        """What it counts, in bytes."""
        return len(self.text.encode()) + LINE_OVERHEAD


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Lines of one attempt that travel together. seq: from 1, without a gap.

    first: the number of its first line in the attempt, from 1. last: no chunk follows it.
    """

    project_id: str
    bead_id: str
    epoch: int
    seq: int
    first: int
    lines: tuple[LogLine, ...]
    last: bool = False

    @property
    def size(self) -> int:
        """What its lines count, in bytes."""
        return sum(line.size for line in self.lines)


@dataclass(frozen=True, order=True, slots=True)
class LogCursor:
    """A place in the log of a bead: after so many lines of a chunk. Later places are greater.

    Epoch 0: before the first attempt.
    """

    epoch: int = 0
    seq: int = 0
    line: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}.{self.line}"

    @classmethod
    def parse(cls, text: str) -> LogCursor:
        """The cursor in its text form; raises Invalid."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise Invalid(
                "the cursor is not one that a log gave: begin without one, and pass on what it "
                "gives",
                field="cursor",
            )
        return cls(*map(int, match.groups()))


class LogState(StrEnum):
    """Whether more of a log may come."""

    MORE = "more"
    """There is more now."""
    QUIET = "quiet"
    """Nothing more for now."""
    ENDED = "ended"
    """Nothing more comes by itself: the attempt has ended, and so has the bead."""


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line with the place after it."""

    cursor: LogCursor
    line: LogLine


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines in their order, and the place after them.

    again_s: seconds after which the same question may be answered otherwise although nothing
    came: what is late is waited for no longer. 0: not.
    """

    lines: tuple[PlacedLine, ...]
    next: LogCursor
    state: LogState
    again_s: float = 0.0


class LogVerdict(StrEnum):
    """What becomes of a chunk."""

    KEPT = "kept"
    KNOWN = "known"
    """It came before."""
    STALE = "stale"
    """Its attempt no longer holds the bead."""
    FULL = "full"
    """The attempt has said as much as is kept."""
    UNKNOWN = "unknown"
    """There is no such bead in its project, or no such attempt."""
