"""The part of FakeLedger about which agents there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.clients.answers import Page
from loom.database import agent_events, attendance
from loom.database import cursor as cursors
from loom.database.attendance import Kept
from loom.database.changes import Changes
from loom.database.presence import BY_CELERY, LARGEST_PAGE, PAGE
from loom.domain.audit import Intervention, check_intervention
from loom.domain.presence import (
    Agent,
    AgentState,
    AgentWish,
    Crew,
    Registration,
    Report,
    check_registration,
    check_report,
    crew_of,
    project_of_agent,
)
from loom.domain.project import Project

_ACTIONS = {AgentWish.WORK: "resume", AgentWish.DRAIN: "drain", AgentWish.STOP: "stop"}


class FakePresence:
    """Calls about agents, on memory."""

    _lock: Any
    _now: datetime
    get_project: Callable[[str], Project]
    _note: Callable[..., None]
    _apply: Callable[[Changes], None]

    def __init__(self) -> None:
        self._agents: dict[str, Kept] = {}

    def register_agent(self, told: Registration) -> AgentWish:
        """As the client."""
        check_registration(told)
        with self._lock:
            self.get_project(told.project_id)
            kept = self._agents.get(told.name)
            after = attendance.registered(kept, told, self._now)
            self._agents[told.name] = after
            self._apply(agent_events.told(kept, after))
            return after.wish

    def report_agent(self, told: Report) -> AgentWish:
        """As the client."""
        check_report(told)
        with self._lock:
            kept = self._agents.get(told.name)
            after = attendance.reported(kept, told, self._now)
            self._agents[told.name] = after
            self._apply(agent_events.told(kept, after))
            if kept is not None and told.asks not in (None, kept.wish):
                self._note_wish(Intervention(told.name, BY_CELERY), after)
            return after.wish

    def steer_agent(self, name: str, wish: AgentWish, by: Intervention) -> Agent:
        """As the client."""
        check_intervention(by)
        project_of_agent(name)
        with self._lock:
            kept = self._agents.get(name)
            after = attendance.steered(kept, name, wish, self._now)
            if after != kept:
                self._agents[name] = after
                self._apply(agent_events.told(kept, after, by.actor))
                self._note_wish(by, after)
            return after.agent(self._now)

    def get_agent(self, name: str) -> Agent:
        """As the client."""
        with self._lock:
            if name not in self._agents:
                raise attendance.missing(name)
            return self._agents[name].agent(self._now)

    def list_agents(
        self, project_id: str = "", state: AgentState | None = None, page_size: int = 100,
        cursor: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[Agent]:  # fmt: skip
        """As the client."""
        size = cursors.page_size(page_size, PAGE, LARGEST_PAGE)
        begin = str(cursors.read(cursor, str)[0]) if cursor else ""
        found = [
            agent
            for agent in self._agents_of(project_id)
            if agent.name > begin
            and state in (None, agent.state)
            and (not project_ids or agent.project_id in project_ids)
        ]
        more = cursors.write(found[size - 1].name) if len(found) > size else ""
        return Page(tuple(found[:size]), more)

    def forget_agents(self) -> int:
        """As the client."""
        with self._lock:
            for name, kept in self._agents.items():
                if not kept.lost and kept.state(self._now) is AgentState.LOST:
                    self._agents[name] = replace(kept, lost=True)
                    self._apply(Changes(events=(agent_events.lost(kept),)))
            old = [
                name
                for name, kept in self._agents.items()
                if (self._now - kept.last_seen).total_seconds()
                > attendance.forgettable_s(kept.wish)
            ]
            for name in old:
                del self._agents[name]
            return len(old)

    def _agents_of(self, project_id: str) -> list[Agent]:
        with self._lock:
            return [
                kept.agent(self._now)
                for _, kept in sorted(self._agents.items())
                if project_id in ("", kept.project_id)
            ]

    def _crew(self, project_id: str) -> Crew:
        return crew_of(self._agents_of(project_id))

    def _note_wish(self, by: Intervention, after: Kept) -> None:
        self._note(
            by, f"agent.{_ACTIONS[after.wish]}", after.name,
            project_id=after.project_id, running=len(after.running),
        )  # fmt: skip
