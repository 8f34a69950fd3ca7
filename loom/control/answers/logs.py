"""Live logs."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, Path
from loom.domain.log import LineKind, LogState


class LineOut(Answer):
    """A line, with the place after it."""

    cursor: str
    attempt: Count
    at: Moment
    step: str
    kind: LineKind
    text: str
    more: bool


class LogLinks(Answer):
    """Where the bead is, and the log as it comes."""

    bead: Path
    stream: Path


class LogOut(Answer):
    """Some lines of a log, and the place after them."""

    bead_id: str
    attempt: int | None
    lines: list[LineOut]
    next_cursor: str
    state: LogState
    links: LogLinks
