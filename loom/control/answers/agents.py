"""Agents."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Path
from loom.domain.presence import AgentState, AgentWish


class RunningOut(Answer):
    """A bead that an agent works on."""

    bead_id: str
    epoch: Count
    link: Path


class AgentLinks(Answer):
    """Where an agent is, and what may be done to it."""

    self: Path
    drain: Path
    resume: Path
    stop: Path


class AgentOut(Answer):
    """An agent as the ledger knows it."""

    name: str
    project_id: str
    state: AgentState
    wish: AgentWish
    since: Moment
    running: list[RunningOut]
    concurrency: Count
    consuming: bool
    host: str
    pid: Count
    load: float
    disk_free: Count
    versions: dict[str, str]
    tools: dict[str, str]
    started_at: Moment
    last_seen: Moment
    silent_s: float
    links: AgentLinks


class AgentPageOut(Answer):
    """Some agents."""

    agents: list[AgentOut]
    next_cursor: NextCursor
