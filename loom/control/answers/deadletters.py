"""Dead letters, their groups, and the replays of these."""

from __future__ import annotations

from typing import Any, Literal

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Object, Path
from loom.domain.replay import LetterState, ReplayState


class LetterLinks(Answer):
    """Where a letter is."""

    self: Path


class LetterOut(Answer):
    """A message that was given up; a body that is not UTF-8 travels as base64."""

    id: Count
    state: LetterState
    message_id: str
    queue: str
    project_id: str
    bead_id: str
    epoch: Count
    reason: str
    detail: str
    correlation_id: str
    headers: Object
    deaths: list[Any]
    body: str
    body_encoding: Literal["utf-8", "base64"]
    size: Count
    cut: bool
    content_type: str
    fingerprint: str
    recorded_at: Moment | None
    settled_at: Moment | None
    settled_by: str
    note: str
    links: LetterLinks


class LetterPageOut(Answer):
    """Some dead letters."""

    dead_letters: list[LetterOut]
    next_cursor: NextCursor


class GroupLinks(Answer):
    """Where a group's letters are."""

    letters: Path
    example: Path


class GroupOut(Answer):
    """Dead letters of one cause."""

    fingerprint: str
    project_id: str
    queue: str
    reason: str
    detail: str
    count: Count
    open: Count
    first_at: Moment
    last_at: Moment
    example_id: Count
    links: GroupLinks


class GroupPageOut(Answer):
    """Some groups."""

    groups: list[GroupOut]
    next_cursor: NextCursor


class ReplayOut(Answer):
    """The replay of a group."""

    id: str
    fingerprint: str
    state: ReplayState
    rate_per_s: float
    replayed: Count
    refused: Count
    left: Count
    why: str
    actor: str
    reason: str
    created_at: Moment | None
    ended_at: Moment | None


class ReplayPageOut(Answer):
    """Some replays."""

    replays: list[ReplayOut]
    next_cursor: NextCursor


class GroupReplayOut(Answer):
    """What the replay of a group begins; replay: null for a dry run, and where nothing matches."""

    matching: Count
    replay: ReplayOut | None


class GroupDiscardOut(Answer):
    """How many letters of a group were open, and how many are discarded."""

    matching: Count
    discarded: Count
