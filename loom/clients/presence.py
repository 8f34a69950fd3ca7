"""The calls of the database service about which agents there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.clients.answers import Page
from loom.domain.audit import Intervention
from loom.domain.presence import Agent, AgentState, AgentWish, Registration, Report
from loom.rpc import presence
from loom.rpc.v1 import agents_pb2 as pb
from loom.rpc.v1 import agents_pb2_grpc


class PresenceCalls:
    """Calls of the AgentService; DatabaseClient has the others."""

    _agents: agents_pb2_grpc.AgentServiceStub
    _call: Callable[..., Any]

    def register_agent(self, told: Registration) -> AgentWish:
        """Say what an agent is; what people want of it. Raises NotFound (the project), Invalid."""
        answer = self._call(self._agents.RegisterAgent, presence.registration_to_pb(told))
        return AgentWish(answer.wish)

    def report_agent(self, told: Report) -> AgentWish:
        """Say what an agent does; what people want of it.

        Raises NotFound: it has to register first; Stale: another registered under its name.
        """
        answer = self._call(self._agents.ReportAgent, presence.report_to_pb(told))
        return AgentWish(answer.wish)

    def get_agent(self, name: str) -> Agent:
        """One agent. Raises NotFound."""
        answer = self._call(self._agents.GetAgent, pb.GetAgentRequest(name=name))
        return presence.agent_from_pb(answer.agent)

    def list_agents(
        self, project_id: str = "", state: AgentState | None = None, page_size: int = 100,
        cursor: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[Agent]:  # fmt: skip
        """Agents in the order of their names."""
        answer = self._call(
            self._agents.ListAgents,
            pb.ListAgentsRequest(
                project_id=project_id,
                state=state.value if state else "",
                page_size=page_size,
                cursor=cursor,
                project_ids=project_ids,
            ),
        )
        return Page(tuple(map(presence.agent_from_pb, answer.agents)), answer.next_cursor)

    def steer_agent(self, name: str, wish: AgentWish, by: Intervention) -> Agent:
        """Want something of an agent; it as it is then. Raises NotFound, Invalid."""
        answer = self._call(self._agents.SteerAgent, presence.steer_to_pb(name, wish, by))
        return presence.agent_from_pb(answer.agent)

    def forget_agents(self) -> int:
        """Forget agents that have been silent for long; how many."""
        return int(self._call(self._agents.ForgetAgents, pb.ForgetAgentsRequest()).forgotten)
