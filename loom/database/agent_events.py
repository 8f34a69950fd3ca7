"""What is told of an agent when its row changes, decided on values."""

from __future__ import annotations

from typing import Any

from loom.database.attendance import Kept
from loom.database.changes import Changes, Event
from loom.domain.presence import AgentWish

_WISHES = {
    AgentWish.WORK: "agent.resumed",
    AgentWish.DRAIN: "agent.drained",
    AgentWish.STOP: "agent.told_to_stop",
}


def told(before: Kept | None, after: Kept, by: str = "") -> Changes:
    """The events of one change. by: whose wish it is, where it is one."""
    events = []
    if before is None or before.instance != after.instance:
        facts: dict[str, Any] = {"host": after.host, "versions": dict(after.versions)}
        events.append(event("agent.registered", after, **facts))
    else:
        if before.lost and not after.lost:
            events.append(event("agent.returned", after))
        if before.ended_at is None and after.ended_at is not None:
            events.append(event("agent.stopped", after))
        elif before.wish is not after.wish:
            events.append(event(_WISHES[after.wish], after, by=by or after.name))
    return Changes(events=tuple(events))


def event(kind: str, agent: Kept, **facts: Any) -> Event:
    """One change of an agent; its process's own id leads from one to the next."""
    data = {"agent_id": agent.name, **facts}
    return Event(kind, agent.project_id, "", 0, data, agent.instance)


def lost(agent: Kept) -> Event:
    """It says nothing any more."""
    return event("agent.lost", agent, last_seen=agent.last_seen.isoformat())
