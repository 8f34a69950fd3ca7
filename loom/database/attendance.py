"""What becomes of the ledger's row of an agent, decided on values.

The database service and its fake carry out the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from loom.domain.presence import (
    FORGOTTEN_AFTER_S,
    WISH_KEPT_S,
    Agent,
    AgentState,
    AgentWish,
    Registration,
    Report,
    RunningBead,
    since,
    state_of,
)
from loom.errors import NotFound, Stale


@dataclass(frozen=True, slots=True)
class Kept:
    """An agent's row. changed_at: when its state last changed by what was said, or by a wish."""

    name: str
    project_id: str
    instance: str
    host: str
    pid: int
    versions: Mapping[str, str]
    tools: Mapping[str, str]
    concurrency: int
    running: tuple[RunningBead, ...]
    consuming: bool
    load: float
    disk_free: int
    wish: AgentWish
    started_at: datetime
    last_seen: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    lost: bool = False
    """Whether it was told that it is lost."""

    def state(self, now: datetime) -> AgentState:
        """Its state at a moment of the ledger's clock."""
        return state_of(
            ended=self.ended_at is not None,
            silent_s=(now - self.last_seen).total_seconds(),
            wish=self.wish,
            consuming=self.consuming,
            running=len(self.running),
        )

    def agent(self, now: datetime) -> Agent:
        """The agent as the ledger tells of it at that moment."""
        state = self.state(now)
        return Agent(
            name=self.name, project_id=self.project_id, state=state, wish=self.wish,
            host=self.host, pid=self.pid, versions=self.versions, tools=self.tools,
            concurrency=self.concurrency, running=self.running, consuming=self.consuming,
            load=self.load, disk_free=self.disk_free, started_at=self.started_at,
            last_seen=self.last_seen, since=since(state, self.changed_at, self.last_seen),
            silent_s=max(0.0, (now - self.last_seen).total_seconds()),
        )  # fmt: skip


def registered(kept: Kept | None, told: Registration, now: datetime) -> Kept:
    """The row once an agent has said what it is; what people want of it outlives its process."""
    if kept is not None and kept.instance == told.instance:
        return replace(kept, versions=told.versions, tools=told.tools, last_seen=now, lost=False)
    return Kept(
        name=told.name, project_id=told.project_id, instance=told.instance, host=told.host,
        pid=told.pid, versions=told.versions, tools=told.tools, concurrency=1, running=(),
        consuming=True, load=0.0, disk_free=0, wish=kept.wish if kept else AgentWish.WORK,
        started_at=now, last_seen=now, changed_at=now,
    )  # fmt: skip


def reported(kept: Kept | None, told: Report, now: datetime) -> Kept:
    """The row once an agent has said what it does. Raises NotFound, Stale."""
    if kept is None:
        raise missing(told.name)
    if kept.instance != told.instance:
        raise Stale(
            f"another process has registered as {told.name} since, on {kept.host} with pid "
            f"{kept.pid}: give each agent a name of its own (LOOM_AGENT_NAME)",
            name=told.name,
        )
    wish = told.asks or kept.wish
    if told.goodbye and wish is AgentWish.STOP:
        wish = AgentWish.WORK
    after = replace(
        kept, concurrency=told.concurrency, running=told.running, consuming=told.consuming,
        load=told.load, disk_free=told.disk_free, wish=wish, last_seen=now,
        ended_at=now if told.goodbye else None, lost=False,
    )  # fmt: skip
    return _dated(kept, after, now)


def steered(kept: Kept | None, name: str, wish: AgentWish, now: datetime) -> Kept:
    """The row once somebody wants something of the agent; the same row if nothing changes."""
    if kept is None:
        raise missing(name)
    if wish is AgentWish.STOP and kept.ended_at is not None:
        wish = AgentWish.WORK
    return _dated(kept, replace(kept, wish=wish), now)


def forgettable_s(wish: AgentWish) -> float:
    """How long an agent of which this is wanted may be silent before it is forgotten."""
    return FORGOTTEN_AFTER_S if wish is AgentWish.WORK else WISH_KEPT_S


def missing(name: str) -> NotFound:
    """There is no such agent."""
    return NotFound(f"there is no agent {name}: `loom agent list` shows them", name=name)


def _dated(before: Kept, after: Kept, now: datetime) -> Kept:
    changed = before.state(now) is not after.state(now)
    return replace(after, changed_at=now) if changed else after
